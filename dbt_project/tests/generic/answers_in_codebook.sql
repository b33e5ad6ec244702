{#- Fails for each question with an answer that is neither in its value set nor a missing code. -#}
{% test answers_in_codebook(model, variables, variable_stages, value_labels, missing_codes) %}

{%- set rows = query_rows(
    "select v.name, string_agg(l.code, ', ' order by l.code) as codes from " ~ variables
    ~ " as v inner join " ~ value_labels ~ " as l on v.value_set = l.value_set"
    ~ " where v.name in (select s.name from " ~ variable_stages
    ~ " as s where s.survey in ('primary', 'secondary')) group by v.name order by v.name"
) %}

with missing_codes as (
    select code
    from {{ missing_codes }}
),

counted as (
    select
        0 as rows_n,
        {%- for row in rows %}
        count(*) filter (
            where {{ row.name }} is null
            or {{ row.name }} not in ({{ row.codes }})
            and {{ row.name }} not in (select code from missing_codes)
        ) as {{ row.name }},
        {%- endfor %}
    from {{ model }}
)

select rows_n
from counted
where
    rows_n > 0
    {%- for row in rows %}
    or {{ row.name }} > 0
    {%- endfor %}

{% endtest %}
