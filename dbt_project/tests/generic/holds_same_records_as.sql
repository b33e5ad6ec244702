{#- Fails for each record that stands on one side only. -#}
{% test holds_same_records_as(model, other, other_where='true') %}

with here as (
    select record_id
    from {{ model }}
),

there as (
    select record_id
    from {{ other }}
    where {{ other_where }}
)

select coalesce(here.record_id, there.record_id) as record_id
from here
full outer join there on here.record_id = there.record_id
where here.record_id is null or there.record_id is null

{% endtest %}
