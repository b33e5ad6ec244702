{%- set surveys = ['primary', 'secondary'] -%}
{%- set variables = source('codebook', 'variables') -%}
{%- set variable_stages = source('codebook', 'variable_stages') -%}
{%- set all_names = survey_variables(variables, variable_stages, surveys) -%}
{%- set asked = {
    'primary': survey_variables(variables, variable_stages, ['primary']),
    'secondary': survey_variables(variables, variable_stages, ['secondary']),
} -%}
{%- set relations = {
    'primary': source('intake', 'primary_survey'),
    'secondary': source('intake', 'secondary_survey'),
} -%}

with linked as (
    select
        record_id,
        engagement,
        tranche,
        survey,
        seed_code,
        stage,
        sex,
        simd_quintile,
    from {{ ref('linkage__linked') }}
    where engagement in {{ engagement_list() }}
),

answers as (
    {%- for survey in surveys %}
    {%- if not loop.first %}

    union all
    {% endif %}
    select
        record_id,
        {%- for name in all_names %}
        {{ name if name in asked[survey] else 'cast(-5 as tinyint)' }} as {{ name }},
        {%- endfor %}
    from {{ relations[survey] }}
    where engagement in {{ engagement_list() }}
    {%- endfor %}
)

select
    linked.record_id,
    linked.engagement,
    linked.tranche,
    linked.survey,
    linked.seed_code,
    linked.stage,
    linked.sex,
    linked.simd_quintile,
    {%- for name in all_names %}
    answers.{{ name }},
    {%- endfor %}
from linked
inner join answers on linked.record_id = answers.record_id
