{#-
    Groups that the pupil census publishes, made from its codes (domain.md §4.1; Scottish
    Government, Health and Wellbeing Census code 11 and 12m).
-#}

{#- Ethnic publication group; an unknown or new code counts as not known. -#}
{% macro ethnicity_group(code) -%}
    {%- set groups = [
        ('white_scottish', ['01']),
        ('white_other_british', ['21']),
        ('white_other', ['09', '19', '22', '23']),
        ('asian', ['05', '06', '07', '08', '17']),
        ('african_black_caribbean', ['02', '03', '24', '25']),
        ('mixed', ['12']),
    ] -%}
    case
        {%- for name, codes in groups %}
        when lpad(cast({{ code }} as varchar), 2, '0') in ('{{ codes | join("', '") }}') then '{{ name }}'
        {%- endfor %}
        else 'other_or_not_known'
    end
{%- endmacro %}


{#-
    Any recorded type or category of need, "other" among them, as published totals of the pupil
    census count (domain.md 4.1). Codes come joined by semicolons; recorded need is no service,
    and whoever has a support recorded (below) has a need recorded.
-#}
{% macro has_additional_support_need(types, needs) -%}
    len(
        list_filter(
            string_split(concat_ws(';', {{ types }}, {{ needs }}), ';'), lambda kind: trim(kind) <> ''
        )
    ) > 0
{%- endmacro %}


{#-
    Any recorded type of need but 5 (other need type), as the Scottish Government's analysis of
    the Health and Wellbeing census counts (domain.md 4.1).
-#}
{% macro has_need_type_but_other(types) -%}
    len(
        list_filter(
            string_split(coalesce({{ types }}, ''), ';'),
            lambda kind: trim(kind) not in ('', '5', '05')
        )
    ) > 0
{%- endmacro %}


{#-
    Support received by the education record (policy.md, Table B): recorded need is no service,
    so only a coordinated support plan (type 1), an individualised programme (2), a child's plan
    (6), or need codes 26 (social, emotional and behavioural) and 28 (mental health) count.
-#}
{% macro has_support_receipt(types, needs) -%}
    (
        list_has_any(
            list_transform(string_split(coalesce({{ types }}, ''), ';'), lambda kind: ltrim(trim(kind), '0')),
            ['1', '2', '6']
        )
        or list_has_any(
            list_transform(string_split(coalesce({{ needs }}, ''), ';'), lambda kind: trim(kind)),
            ['26', '28']
        )
    )
{%- endmacro %}
