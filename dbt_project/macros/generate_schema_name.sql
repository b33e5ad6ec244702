{#- Schema = room, nothing else: no prefix of the target's schema (design.md, Names). -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}


{#- Alias = thing: the part of the file name after `<room>__`. -#}
{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
    {{ custom_alias_name | trim if custom_alias_name else node.name.split('__')[-1] }}
{%- endmacro %}
