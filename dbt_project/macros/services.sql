{#-
    How the service map is spread: the age bands of `services.spend`.
-#}

{#-
    Age bands by the ages that they hold, both ends included. Bounds follow the stages of
    school in Scotland: before P1, P1 to P7, S1 to S6, and what services give beyond 17
    (aftercare goes on to 25). Source: [DES]; domain.md §8 asks for spend by age and names
    no bands.
-#}
{% macro age_bands() -%}
    {{ return([
        {'name': '0-4', 'from': 0, 'to': 4},
        {'name': '5-11', 'from': 5, 'to': 11},
        {'name': '12-17', 'from': 12, 'to': 17},
        {'name': '18+', 'from': 18, 'to': 25},
    ]) }}
{%- endmacro %}
