{#- Fails for each value outside the range; null passes. -#}
{% test accepted_range(model, column_name, minimum, maximum) %}

select {{ column_name }}
from {{ model }}
where {{ column_name }} not between {{ minimum }} and {{ maximum }}

{% endtest %}
