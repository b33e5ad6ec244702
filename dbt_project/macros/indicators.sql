{#-
    Indicators: one expression each, 1 positive, 0 not, null outside the base.

    Plain data, one mapping an indicator:
      name, kind, variables, positive_codes, base_codes, score, lower, upper,
      operator, cut, survey, stages
    `kept_missing` are missing codes that stay in the denominator (policy.md: none by
    default; *prefer not to say* only in the definition set "HWB parity").
-#}

{#- Whether one answer is in the base: a valid code, or one that the rule keeps. -#}
{% macro in_base(variable, base_codes, kept_missing) -%}
{%- if base_codes -%}
{{ variable }} in ({{ (base_codes + kept_missing) | join(', ') }})
{%- elif kept_missing -%}
({{ variable }} >= 0 or {{ variable }} in ({{ kept_missing | join(', ') }}))
{%- else -%}
{{ variable }} >= 0
{%- endif -%}
{%- endmacro %}


{% macro is_positive(variable, positive_codes) -%}
{{ variable }} in ({{ positive_codes | join(', ') }})
{%- endmacro %}


{#- The condition under which a record is in the indicator's base. -#}
{% macro indicator_base(indicator, kept_missing) -%}
{%- if indicator.kind in ('codes', 'all_of', 'any_of') -%}
    {%- for variable in indicator.variables -%}
        {%- if not loop.first %} and {% endif -%}
        {{ in_base(variable, indicator.base_codes, kept_missing) }}
    {%- endfor -%}
{%- else -%}
{{ indicator.score }} is not null
{%- endif -%}
{%- endmacro %}


{#- The value of a record that is in the base. -#}
{% macro indicator_outcome(indicator) -%}
{%- if indicator.kind in ('codes', 'all_of', 'any_of') -%}
    {%- set joint = ' or ' if indicator.kind == 'any_of' else ' and ' -%}
    {%- set parts = [] -%}
    {%- for variable in indicator.variables -%}
        {%- set _ = parts.append(is_positive(variable, indicator.positive_codes)) -%}
    {%- endfor -%}
cast(({{ parts | join(joint) }}) as double)
{%- elif indicator.kind == 'score_range' -%}
cast((
    {%- if indicator.lower is not none %}{{ indicator.score }} >= {{ indicator.lower }}{% endif -%}
    {%- if indicator.lower is not none and indicator.upper is not none %} and {% endif -%}
    {%- if indicator.upper is not none %}{{ indicator.score }} <= {{ indicator.upper }}{% endif -%}
) as double)
{%- elif indicator.kind == 'cutoff' -%}
cast(({{ indicator.score }} {{ indicator.operator }} {{ indicator.cut }}) as double)
{%- elif indicator.kind == 'mean' -%}
cast({{ indicator.score }} as double)
{%- else -%}
unknown_kind_{{ indicator.kind }}
{%- endif -%}
{%- endmacro %}


{#- An indicator as a column expression; asked of its survey and stages only. -#}
{% macro indicator_value(indicator, kept_missing) -%}
case
            when
                {% if indicator.survey != 'parent' -%}
                survey = '{{ indicator.survey }}'
                and stage in ('{{ indicator.stages | join("', '") }}')
                and {% endif -%}
                {{ indicator_base(indicator, kept_missing) }}
                then {{ indicator_outcome(indicator) }}
        end
{%- endmacro %}
