{#- Fails if a scale score lies outside the range that the codebook gives it. -#}
{% test scores_in_range(model, scales, scale_items, instrument_surveys) %}

{%- set rows = query_rows(
    "select s.scale, s.low, s.high from " ~ scales ~ " as s where s.instrument in"
    ~ " (select t.instrument from " ~ instrument_surveys
    ~ " as t where t.survey in ('primary', 'secondary')) order by s.scale"
) %}

select record_id
from {{ model }}
where
    false
    {%- for row in rows %}
    or {{ row.scale }} not between {{ row.low }} and {{ row.high }}
    {%- endfor %}

{% endtest %}
