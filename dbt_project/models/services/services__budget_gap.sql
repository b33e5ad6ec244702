with budgets as (
    select
        engagement,
        sector,
        sum((budget_gbp * share)::decimal(18, 6))::double as budget_gbp,
    from {{ source('intake', 'budgets') }}
    where engagement in {{ engagement_list() }}
    group by all
),

mapped as (
    select
        engagement,
        sector,
        sum(annual_cost_gbp::decimal(18, 6))::double as mapped_gbp,
    from {{ source('intake', 'service_map') }}
    where engagement in {{ engagement_list() }}
    group by all
),

compared as (
    select
        coalesce(budgets.engagement, mapped.engagement) as engagement,
        coalesce(budgets.sector, mapped.sector) as sector,
        coalesce(budgets.budget_gbp, 0) as budget_gbp,
        coalesce(mapped.mapped_gbp, 0) as mapped_gbp,
    from budgets
    full outer join mapped
        on
            budgets.engagement = mapped.engagement
            and budgets.sector = mapped.sector
)

select
    engagement,
    sector,
    budget_gbp,
    mapped_gbp,
from compared
