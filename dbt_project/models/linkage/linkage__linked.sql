with answers as (
    select
        record_id,
        engagement,
        'primary' as survey,
    from {{ source('intake', 'primary_survey') }}
    where engagement in {{ engagement_list() }}

    union all

    select
        record_id,
        engagement,
        'secondary' as survey,
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
        {{ has_additional_support_need('payload.asn_types') }} as has_asn,
        payload.looked_after,
    from {{ source('intake', 'education') }} as payload
    inner join links
        on
            payload.engagement = links.engagement
            and payload.record_id = links.record_id
            and links.dataset = 'education'
    left join zones on payload.datazone = zones.datazone
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
        education.looked_after,
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
    looked_after,
from joined
