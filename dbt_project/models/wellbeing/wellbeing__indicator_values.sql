{%- set indicators = codebook_indicators(
    source('codebook', 'indicators'), source('codebook', 'cutoff_sets'), ['primary', 'secondary'],
) -%}
{%- set kept_missing = codebook_kept_missing(source('codebook', 'missing_codes')) -%}
{%- set used = indicator_inputs(indicators) -%}

with linked as (
    select
        record_id,
        engagement,
        tranche,
    from {{ ref('linkage__linked') }}
    where
        engagement in {{ engagement_list() }}
        and is_linked
),

item_answers as (
    select
        record_id,
        survey,
        seed_code,
        stage,
        sex,
        simd_quintile,
        {%- for name in used.variables %}
        {{ name }},
        {%- endfor %}
    from {{ ref('wellbeing__item_answers') }}
    where engagement in {{ engagement_list() }}
),

scores as (
    select
        record_id,
        {%- for name in used.scores %}
        {{ name }},
        {%- endfor %}
    from {{ ref('wellbeing__scores') }}
    where engagement in {{ engagement_list() }}
),

engagements as (
    select
        engagement,
        council_code,
    from {{ source('programme', 'engagements') }}
),

indicator_values as (
    select
        linked.record_id,
        linked.engagement,
        linked.tranche,
        item_answers.survey,
        engagements.council_code,
        item_answers.seed_code,
        item_answers.stage,
        item_answers.sex,
        item_answers.simd_quintile,
        {%- for indicator in indicators %}
        {{ indicator_value(indicator, kept_missing) }} as {{ indicator.name }},
        {%- endfor %}
    from linked
    inner join engagements on linked.engagement = engagements.engagement
    inner join item_answers on linked.record_id = item_answers.record_id
    inner join scores on linked.record_id = scores.record_id
)

select
    record_id,
    engagement,
    tranche,
    survey,
    council_code,
    seed_code,
    stage,
    sex,
    simd_quintile,
    {%- for indicator in indicators %}
    {{ indicator.name }},
    {%- endfor %}
from indicator_values
