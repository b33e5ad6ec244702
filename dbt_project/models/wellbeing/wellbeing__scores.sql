{%- set scales = codebook_scales(
    source('codebook', 'scales'),
    source('codebook', 'scale_items'),
    source('codebook', 'instrument_surveys'),
) -%}
{%- set composites = codebook_composites(source('codebook', 'composites'), scales) -%}
{%- set bands = codebook_bands(source('codebook', 'bands'), scales + composites) -%}
{%- set conversions = codebook_conversions(source('codebook', 'conversions')) -%}

with item_answers as (
    select
        record_id,
        engagement,
        survey,
        {%- for name in scale_inputs(scales) %}
        {{ name }},
        {%- endfor %}
    from {{ ref('wellbeing__item_answers') }}
    where engagement in {{ engagement_list() }}
),

scored as (
    {{ scores_query(
        'item_answers', ['record_id', 'engagement', 'survey'],
        scales, composites, bands, conversions, var('missing_rule'),
    ) }}
)

select
    record_id,
    engagement,
    survey,
    {{ score_columns(scales, composites, bands) }},
from scored
