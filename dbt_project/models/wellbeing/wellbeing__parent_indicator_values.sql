{%- set indicators = codebook_indicators(
    source('codebook', 'indicators'), source('codebook', 'cutoff_sets'), ['parent'],
) -%}
{%- set kept_missing = codebook_kept_missing(source('codebook', 'missing_codes')) -%}

with parent_survey as (
    select
        record_id,
        engagement,
        child_age,
        child_sex,
        simd_quintile,
        {%- for name in indicator_inputs(indicators).variables %}
        {{ name }},
        {%- endfor %}
    from {{ source('intake', 'parent_survey') }}
    where engagement in {{ engagement_list() }}
),

engagements as (
    select
        engagement,
        tranche,
    from {{ source('programme', 'engagements') }}
),

indicator_values as (
    select
        parent_survey.record_id,
        parent_survey.engagement,
        engagements.tranche,
        parent_survey.child_age,
        parent_survey.child_sex,
        parent_survey.simd_quintile,
        {%- for indicator in indicators %}
        {{ indicator_value(indicator, kept_missing) }} as {{ indicator.name }},
        {%- endfor %}
    from parent_survey
    inner join engagements on parent_survey.engagement = engagements.engagement
)

select
    record_id,
    engagement,
    tranche,
    child_age,
    child_sex,
    simd_quintile,
    {%- for indicator in indicators %}
    {{ indicator.name }},
    {%- endfor %}
from indicator_values
