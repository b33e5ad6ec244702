with answers as (
    select
        record_id,
        engagement,
        'primary' as survey,
        completed_on,
    from {{ source('intake', 'primary_survey') }}
    where engagement in {{ engagement_list() }}

    union all

    select
        record_id,
        engagement,
        'secondary' as survey,
        completed_on,
    from {{ source('intake', 'secondary_survey') }}
    where engagement in {{ engagement_list() }}
),

links as (
    select
        dataset,
        engagement,
        record_id,
        project_id,
        pass_no,
    from {{ source('linkage', 'project_ids') }}
    where engagement in {{ engagement_list() }}
),

pupils as (
    select
        links.project_id,
        sample.engagement,
        sample.seed_code,
        sample.stage,
        sample.sex,
    from {{ source('intake', 'sample') }} as sample
    inner join links
        on
            sample.engagement = links.engagement
            and sample.record_id = links.record_id
            and links.dataset = 'sample'
),

zones as (
    select
        datazone,
        quintile,
    from {{ source('intake', 'simd') }}
    where vintage = '{{ var("simd_vintage") }}'
),

education as (
    select
        links.project_id,
        links.engagement,
        links.pass_no,
        payload.datazone,
        zones.quintile as simd_quintile,
        {{ ethnicity_group('payload.ethnic_background') }} as ethnicity_group,
        payload.free_school_meal,
        {{ has_additional_support_need('payload.asn_types', 'payload.asn_needs') }} as has_asn,
        {{ has_need_type_but_other('payload.asn_types') }} as has_asn_but_other,
        {{ has_support_receipt('payload.asn_types', 'payload.asn_needs') }} as has_asn_support,
        payload.looked_after,
    from {{ source('intake', 'education') }} as payload
    inner join links
        on
            payload.engagement = links.engagement
            and payload.record_id = links.record_id
            and links.dataset = 'education'
    left join zones on payload.datazone = zones.datazone
),

social_work as (
    select
        links.project_id,
        links.engagement,
        links.pass_no,
        payload.looked_after_status,
        payload.child_protection_12m,
        payload.open_case,
        payload.childs_plan,
        payload.opened_on,
        payload.closed_on,
    from {{ source('intake', 'social_work') }} as payload
    inner join links
        on
            payload.engagement = links.engagement
            and payload.record_id = links.record_id
            and links.dataset = 'social_work'
),

engagements as (
    select
        engagement,
        tranche,
    from {{ source('programme', 'engagements') }}
),

joined as (
    select
        answers.record_id,
        answers.engagement,
        engagements.tranche,
        answers.survey,
        pupils.project_id,
        pupils.project_id is not null as is_linked,
        pupils.seed_code,
        pupils.stage,
        pupils.sex,
        education.project_id is not null as has_education,
        education.pass_no as education_pass,
        education.datazone,
        education.simd_quintile,
        education.ethnicity_group,
        education.free_school_meal,
        education.has_asn,
        education.has_asn_but_other,
        education.has_asn_support,
        education.looked_after as is_looked_after_by_education,
        social_work.pass_no as social_work_pass,
        social_work.looked_after_status,
        social_work.child_protection_12m,
        social_work.open_case,
        social_work.childs_plan,
        social_work.project_id is not null
        and {{ is_receipt(
            'social_work.opened_on', 'social_work.closed_on', 'answers.completed_on'
        ) }}
            as has_social_work,
    from answers
    inner join engagements on answers.engagement = engagements.engagement
    left join links
        on
            answers.engagement = links.engagement
            and answers.record_id = links.record_id
            and links.dataset = answers.survey || '_survey'
    left join pupils
        on
            links.engagement = pupils.engagement
            and links.project_id = pupils.project_id
    left join education
        on
            pupils.engagement = education.engagement
            and pupils.project_id = education.project_id
    left join social_work
        on
            pupils.engagement = social_work.engagement
            and pupils.project_id = social_work.project_id
),

received as (
    select
        *,
        -- A child cannot be looked after now by a record that is no longer current.
        case
            when social_work_pass is null then 'never'
            when starts_with(looked_after_status, 'currently') and not has_social_work
                then 'previously'
            else looked_after_status
        end as status,
    from joined
)

select
    record_id,
    engagement,
    tranche,
    survey,
    project_id,
    is_linked,
    seed_code,
    stage,
    sex,
    has_education,
    education_pass,
    datazone,
    simd_quintile,
    ethnicity_group,
    free_school_meal,
    has_asn,
    has_asn_but_other,
    has_asn_support,
    case
        when starts_with(status, 'currently') then true
        when has_education then is_looked_after_by_education
        when social_work_pass is not null then false
    end as looked_after,
    has_social_work,
    social_work_pass,
    status as looked_after_status,
    has_social_work and child_protection_12m as child_protection_12m,
    has_social_work and open_case as has_open_case,
    has_social_work and childs_plan as has_childs_plan,
from received
