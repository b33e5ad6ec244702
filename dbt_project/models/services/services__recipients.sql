with waves as (
    select
        engagement,
        survey,
        stages,
        fieldwork_end,
    from {{ source('programme', 'waves') }}
    where
        engagement in {{ engagement_list() }}
        and survey in ('primary', 'secondary')
),

links as (
    select
        dataset,
        engagement,
        record_id,
        project_id,
    from {{ source('linkage', 'project_ids') }}
    where engagement in {{ engagement_list() }}
),

pupils as (
    select
        sample.engagement,
        waves.survey,
        waves.fieldwork_end,
        sample.record_id,
        links.project_id,
    from {{ source('intake', 'sample') }} as sample
    inner join waves
        on
            sample.engagement = waves.engagement
            and list_contains(waves.stages, sample.stage)
    left join links
        on
            sample.engagement = links.engagement
            and sample.record_id = links.record_id
            and links.dataset = 'sample'
),

education as (
    select
        links.engagement,
        links.project_id,
        {{ has_support_receipt('payload.asn_types', 'payload.asn_needs') }} as has_asn_support,
    from {{ source('intake', 'education') }} as payload
    inner join links
        on
            payload.engagement = links.engagement
            and payload.record_id = links.record_id
            and links.dataset = 'education'
),

social_work as (
    select
        links.engagement,
        links.project_id,
        payload.opened_on,
        payload.closed_on,
    from {{ source('intake', 'social_work') }} as payload
    inner join links
        on
            payload.engagement = links.engagement
            and payload.record_id = links.record_id
            and links.dataset = 'social_work'
),

supported as (
    select
        pupils.engagement,
        pupils.survey,
        answers.project_id is not null as has_responded,
        coalesce(education.has_asn_support, false) as has_asn_support,
        social_work.project_id is not null
        and {{ is_receipt(
            'social_work.opened_on', 'social_work.closed_on', 'pupils.fieldwork_end'
        ) }}
            as has_social_work,
    from pupils
    left join links as answers
        on
            pupils.engagement = answers.engagement
            and pupils.project_id = answers.project_id
            and answers.dataset = pupils.survey || '_survey'
    left join education
        on
            pupils.engagement = education.engagement
            and pupils.project_id = education.project_id
    left join social_work
        on
            pupils.engagement = social_work.engagement
            and pupils.project_id = social_work.project_id
),

counted as (
    select
        engagement,
        survey,
        has_responded,
        count(*)::integer as pupils_n,
        count_if(has_asn_support)::integer as asn_support_n,
        count_if(has_social_work)::integer as social_work_n,
        count_if(has_asn_support and has_social_work)::integer as both_n,
        count_if(has_asn_support or has_social_work)::integer as any_service_n,
    from supported
    group by all
)

select
    engagement,
    survey,
    has_responded,
    pupils_n,
    asn_support_n,
    social_work_n,
    both_n,
    any_service_n,
from counted
