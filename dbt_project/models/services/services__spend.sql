with service_map as (
    select
        engagement,
        service_id,
        provider_name,
        provider_type,
        sector,
        age_min,
        age_max,
        children_served,
        annual_cost_gbp,
        funding_origin,
        domain,
        is_confidential,
        tier_universal_pct,
        tier_targeted_pct,
        tier_specialist_pct,
        tier_universal_pct + tier_targeted_pct + tier_specialist_pct as tiers_pct,
    from {{ source('intake', 'service_map') }}
    where engagement in {{ engagement_list() }}
),

tiers as (
    {%- for tier in ['universal', 'targeted', 'specialist'] %}
    select
        engagement,
        service_id,
        '{{ tier }}' as tier,
        tier_{{ tier }}_pct / tiers_pct as tier_share,
    from service_map
    where tier_{{ tier }}_pct > 0
    {%- if not loop.last %}

    union all
    {%- endif %}
    {%- endfor %}
),

bands as (
    {%- for band in age_bands() %}
    select
        '{{ band.name }}' as age_band,
        {{ band.from }} as age_from,
        {{ band.to }} as age_to,
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

ages as (
    select
        service_map.engagement,
        service_map.service_id,
        bands.age_band,
        (
            least(service_map.age_max, bands.age_to)
            - greatest(service_map.age_min, bands.age_from)
            + 1
        )
        / (service_map.age_max - service_map.age_min + 1) as age_share,
    from service_map
    inner join bands
        on
            service_map.age_min <= bands.age_to
            and service_map.age_max >= bands.age_from
),

spread as (
    select
        service_map.engagement,
        service_map.sector,
        tiers.tier,
        ages.age_band,
        service_map.funding_origin,
        service_map.domain,
        service_map.provider_name,
        service_map.provider_type,
        service_map.is_confidential,
        (service_map.annual_cost_gbp * tiers.tier_share * ages.age_share)::decimal(18, 6)
            as gbp,
        (service_map.children_served * tiers.tier_share * ages.age_share)::decimal(18, 6)
            as children_n,
    from service_map
    inner join tiers
        on
            service_map.engagement = tiers.engagement
            and service_map.service_id = tiers.service_id
    inner join ages
        on
            service_map.engagement = ages.engagement
            and service_map.service_id = ages.service_id
),

spend as (
    select
        engagement,
        sector,
        tier,
        age_band,
        funding_origin,
        domain,
        provider_name,
        provider_type,
        bool_or(is_confidential) as is_confidential,
        sum(gbp)::double as gbp,
        -- A sum over services of which one does not say whom it serves is not known.
        if(count(children_n) = count(*), sum(children_n), null)::double as children_n,
    from spread
    group by all
)

select
    engagement,
    sector,
    tier,
    age_band,
    funding_origin,
    domain,
    provider_name,
    provider_type,
    is_confidential,
    gbp,
    children_n,
from spend
