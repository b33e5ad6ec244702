{#-
    Fails if a percentage indicator is neither 0 nor 1, or a mean lies outside the range of its
    scale, metric or composite.
-#}
{% test indicators_in_range(model, indicators, scales, composites, conversions, surveys) %}

{%- set rows = query_rows(
    "with ranges as (select s.scale as score, s.low, s.high from " ~ scales ~ " as s"
    ~ " union all select m.metric_name, min(v.metric), max(v.metric) from " ~ scales
    ~ " as m inner join " ~ conversions ~ " as v on m.conversion = v.conversion"
    ~ " group by m.metric_name"
    ~ " union all select c.composite, sum(s.low), sum(s.high) from " ~ composites
    ~ " as c inner join " ~ scales ~ " as s on c.scale = s.scale group by c.composite)"
    ~ " select i.name, i.statistic, r.low, r.high from " ~ indicators
    ~ " as i left join ranges as r on i.score = r.score where i.survey in ('"
    ~ surveys | join("', '") ~ "') order by i.name"
) %}

select record_id
from {{ model }}
where
    false
    {%- for row in rows %}
    {%- if row.statistic == 'pct' %}
    or {{ row.name }} not in (0, 1)
    {%- else %}
    or {{ row.name }} not between {{ row.low }} and {{ row.high }}
    {%- endif %}
    {%- endfor %}

{% endtest %}
