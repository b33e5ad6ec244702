{#- Fails if a percentage indicator is neither 0 nor 1, or a mean outside its scale's range. -#}
{% test indicators_in_range(model, indicators, scales, surveys) %}

{%- set rows = query_rows(
    "select i.name, i.statistic, s.low, s.high from " ~ indicators ~ " as i left join "
    ~ scales ~ " as s on i.score = s.scale where i.survey in ('" ~ surveys | join("', '")
    ~ "') order by i.name"
) %}

select record_id
from {{ model }}
where
    false
    {%- for row in rows %}
    {%- if row.statistic == 'pct' %}
    or {{ row.name }} not in (0, 1)
    {%- elif row.low is not none %}
    or {{ row.name }} not between {{ row.low }} and {{ row.high }}
    {%- endif %}
    {%- endfor %}

{% endtest %}
