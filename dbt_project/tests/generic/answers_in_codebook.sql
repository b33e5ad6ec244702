{#- Fails once for each question with an answer outside its value set and the missing codes. A new
    question is empty in rows of engagements that this run does not compute. -#}
{% test answers_in_codebook(model, variables, variable_stages, value_labels, missing_codes) %}

{%- set missing = query_rows("select string_agg(code, ', ') as codes from " ~ missing_codes) %}
{%- set rows = query_rows(
    "select v.name, string_agg(l.code, ', ' order by l.code) as codes from " ~ variables
    ~ " as v inner join " ~ value_labels ~ " as l on v.value_set = l.value_set"
    ~ " where v.name in (select s.name from " ~ variable_stages
    ~ " as s where s.survey in ('primary', 'secondary')) group by v.name order by v.name"
) %}

with counted as (
    select
        {%- for row in rows %}
        count(*) filter (
            where {{ row.name }} not in ({{ row.codes }}, {{ missing[0].codes }})
                or ({{ row.name }} is null and engagement in {{ engagement_list() }})
        ) as {{ row.name }},
        {%- endfor %}
        count(*) as rows_n,
    from {{ model }}
)

{%- for row in rows %}
select '{{ row.name }}' as variable from counted where {{ row.name }} > 0
{%- if not loop.last %} union all {% endif %}
{%- endfor %}

{% endtest %}
