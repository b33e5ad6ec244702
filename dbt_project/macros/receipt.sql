{#-
    Receipt of a service at the survey date (policy.md, Table B): opened by then, and not closed
    more than `receipt_window_months` before. An open case has no closing day. Without a survey
    date only an open case counts.
-#}
{% macro is_receipt(opened_on, closed_on, surveyed_on) -%}
    (
        coalesce({{ opened_on }} <= {{ surveyed_on }}, true)
        and coalesce(
            {{ closed_on }} >= {{ surveyed_on }} - to_months({{ var("receipt_window_months") }}),
            {{ closed_on }} is null
        )
    )
{%- endmacro %}
