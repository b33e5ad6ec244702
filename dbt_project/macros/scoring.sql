{#-
    Scoring of instruments: the only place where it stands.

    Used twice with the same plain data: by the model wellbeing__scores (data read from
    the codebook's tables) and by rcs_assets.wellbeing.score (jinja2 renders this file
    on its own). So nothing here may use dbt: no ref, no run_query, no exceptions.

    Plain data:
      scales      [{name, method, min_answered, conversion, metric_name,
                    zero_variable, zero_code,
                    items: [{variable, is_reversed, minimum, maximum, points}]}]
      composites  [{name, scales: [name]}]
      bands       [{score, bands, cuts: [{number, lower, upper}]}]
      conversions {name: [{raw, metric}]}
      missing_rule  prorate | complete (domain.md §0.2, row 6)
-#}

{#-
    One item as it counts: null unless within its range; its points where answers have
    them, else the answer, turned over where it is reversed.
-#}
{% macro scored_item(item) -%}
case
            {%- if item.points %}
            {%- for points in item.points %}
            when {{ item.variable }} = {{ item.minimum + loop.index0 }} then {{ points }}
            {%- endfor %}
            {%- else %}
            when {{ item.variable }} between {{ item.minimum }} and {{ item.maximum }}
                then {% if item.is_reversed %}{{ item.minimum + item.maximum }} - {% endif %}{{ item.variable }}
            {%- endif %}
        end
{%- endmacro %}


{#- Sum of the answered items; unanswered ones add nothing. -#}
{% macro answered_sum(scale) -%}
{%- for item in scale['items'] %}
        {% if not loop.first %}+ {% endif %}coalesce({{ scored_item(item) }}, 0)
{%- endfor %}
{%- endmacro %}


{#- Two answers as one number: 10 x the first and the second. -#}
{% macro answered_pair(scale) -%}
10 * {{ scale['items'][0].variable }} + {{ scale['items'][1].variable }}
{%- endmacro %}


{#- Number of answered items. -#}
{% macro answered_n(scale) -%}
{%- for item in scale['items'] %}
        {% if not loop.first %}+ {% endif %}case when {{ item.variable }} between {{ item.minimum }} and {{ item.maximum }} then 1 else 0 end
{%- endfor %}
{%- endmacro %}


{#-
    How many items must be answered. Only a prorated sum and a mean can do with fewer
    than all, and only under the rule `prorate`; a plain sum of fewer items is no sum.
-#}
{% macro items_needed(scale, missing_rule) -%}
{%- if missing_rule == 'complete' or scale.method in ('sum', 'matrix') -%}
{{ scale['items'] | length }}
{%- else -%}
{{ scale.min_answered }}
{%- endif -%}
{%- endmacro %}


{#-
    A scale score from its answered sum and number. A prorated sum is the mean of the
    answered items times the number of items, rounded half up: floor(x + 0.5), since
    round() is half-even on some engines (domain.md §1.6).
-#}
{% macro scale_score(scale, missing_rule, conversions) -%}
{%- set n = scale.name ~ '__n' -%}
{%- set total = scale.name ~ '__sum' -%}
case
            {%- if scale.zero_variable %}
            when {{ scale.name }}__is_zero then 0
            {%- endif %}
            when {{ n }} >= {{ items_needed(scale, missing_rule) }}
                then
                {%- if scale.method == 'prorated_sum' %} cast(floor(cast({{ total }} * {{ scale['items'] | length }} as double) / {{ n }} + 0.5) as integer)
                {%- elif scale.method == 'sum' %} cast({{ total }} as integer)
                {%- elif scale.method == 'matrix' %} {{ looked_up(total, conversions[scale.conversion]) }}
                {%- elif scale.method == 'mean' %} cast({{ total }} as double) / {{ n }}
                {%- else %} unknown_method_{{ scale.method }}
                {%- endif %}
        end
{%- endmacro %}


{#- A raw score on its metric, by the conversion table; null for a raw score not listed. -#}
{% macro looked_up(raw, table) -%}
case {{ raw }}
            {%- for row in table %}
            when {{ row.raw }} then cast({{ row.metric }} as double)
            {%- endfor %}
        end
{%- endmacro %}


{#- A composite; null if any of its scales is null. -#}
{% macro composite_score(composite) -%}
{{ composite.scales | join(' + ') }}
{%- endmacro %}


{#- The number of the band that holds a score. -#}
{% macro score_band(banding) -%}
case
        {%- for cut in banding.cuts %}
        when {{ banding.score }} between {{ cut.lower }} and {{ cut.upper }} then {{ cut.number }}
        {%- endfor %}
    end
{%- endmacro %}


{#- The result columns of `scores_query` beside the carried ones, joined by commas. -#}
{% macro score_columns(scales, composites, bands) -%}
{%- set names = [] -%}
{%- for scale in scales -%}
    {%- set _ = names.append(scale.name) -%}
    {%- if scale.metric_name -%}{%- set _ = names.append(scale.metric_name) -%}{%- endif -%}
{%- endfor -%}
{%- for composite in composites -%}{%- set _ = names.append(composite.name) -%}{%- endfor -%}
{%- for banding in bands -%}
    {%- set _ = names.append(banding.score ~ '_band' ~ banding.bands) -%}
{%- endfor -%}
{{ names | join(',\n    ') }}
{%- endmacro %}


{#-
    The whole query: one row a row of `relation`, with the columns `carried`, every scale,
    metric and composite, and `<score>_band<3|4>` where the codebook has bands.
-#}
{% macro scores_query(relation, carried, scales, composites, bands, conversions, missing_rule) -%}
with counted as (
    select
        {{ carried | join(',\n        ') }},
        {%- for scale in scales %}
        {{ answered_n(scale) }}
            as {{ scale.name }}__n,
        {% if scale.method == 'matrix' %}{{ answered_pair(scale) }}{% else %}{{ answered_sum(scale) }}{% endif %}
            as {{ scale.name }}__sum,
        {%- if scale.zero_variable %}
        {{ scale.zero_variable }} = {{ scale.zero_code }} as {{ scale.name }}__is_zero,
        {%- endif %}
        {%- endfor %}
    from {{ relation }}
),

scaled as (
    select
        {{ carried | join(',\n        ') }},
        {%- for scale in scales %}
        {{ scale_score(scale, missing_rule, conversions) }} as {{ scale.name }},
        {%- endfor %}
    from counted
),

combined as (
    select
        {{ carried | join(',\n        ') }},
        {%- for scale in scales %}
        {{ scale.name }},
        {%- if scale.metric_name %}
        {{ looked_up(scale.name, conversions[scale.conversion]) }} as {{ scale.metric_name }},
        {%- endif %}
        {%- endfor %}
        {%- for composite in composites %}
        {{ composite_score(composite) }} as {{ composite.name }},
        {%- endfor %}
    from scaled
)

select
    {{ carried | join(',\n    ') }},
    {%- for scale in scales %}
    {{ scale.name }},
    {%- if scale.metric_name %}
    {{ scale.metric_name }},
    {%- endif %}
    {%- endfor %}
    {%- for composite in composites %}
    {{ composite.name }},
    {%- endfor %}
    {%- for banding in bands %}
    {{ score_band(banding) }} as {{ banding.score }}_band{{ banding.bands }},
    {%- endfor %}
from combined
{%- endmacro %}
