{#-
    What the models compile from the codebook's tables, as plain data for the scoring and
    indicator macros. Each macro takes its sources as arguments, so that the model that
    calls it names them and dbt sees the dependency. While dbt parses, all give nothing.
-#}

{#- Rows of a query as mappings; nothing while parsing. -#}
{% macro query_rows(sql) -%}
    {%- set rows = [] -%}
    {%- if execute -%}
        {%- set result = run_query(sql) -%}
        {%- for row in result.rows -%}
            {%- do rows.append(dict(zip(result.column_names, row))) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(rows) }}
{%- endmacro %}


{#- Text joined by `|` as a list; nothing for empty text. -#}
{% macro as_texts(joined) -%}
    {{ return(joined.split('|') if joined else []) }}
{%- endmacro %}


{% macro as_integers(joined) -%}
    {{ return(as_texts(joined) | map('int') | list) }}
{%- endmacro %}


{#- Names of the answer columns of the given surveys, in codebook order. -#}
{% macro survey_variables(variables, variable_stages, surveys) -%}
    {%- set rows = query_rows(
        "select v.name from " ~ variables ~ " as v where v.name in (select s.name from "
        ~ variable_stages ~ " as s where s.survey in ('" ~ surveys | join("', '")
        ~ "')) order by v.position"
    ) -%}
    {{ return(rows | map(attribute='name') | list) }}
{%- endmacro %}


{#- Scales with their items, in codebook order, of the surveys that item_answers holds. -#}
{% macro codebook_scales(scales, scale_items, instrument_surveys) -%}
    {%- set found = {} -%}
    {%- for row in query_rows(
        "select s.scale, s.method, s.min_answered, coalesce(s.conversion, '') as conversion,"
        ~ " coalesce(s.metric_name, '') as metric_name,"
        ~ " coalesce(s.zero_variable, '') as zero_variable, s.zero_code,"
        ~ " i.variable, i.is_reversed, i.minimum, i.maximum,"
        ~ " array_to_string(i.points, '|') as points"
        ~ " from " ~ scales ~ " as s inner join " ~ scale_items ~ " as i"
        ~ " on s.instrument = i.instrument and s.scale = i.scale"
        ~ " where s.instrument in (select t.instrument from " ~ instrument_surveys
        ~ " as t where t.survey in ('primary', 'secondary'))"
        ~ " order by s.instrument, s.scale, i.position"
    ) -%}
        {%- if row.scale not in found -%}
            {%- do found.update({row.scale: {
                'name': row.scale, 'method': row.method, 'min_answered': row.min_answered | int,
                'conversion': row.conversion, 'metric_name': row.metric_name, 'items': [],
                'zero_variable': row.zero_variable, 'zero_code': row.zero_code | int,
            }}) -%}
        {%- endif -%}
        {%- do found[row.scale]['items'].append({
            'variable': row.variable, 'is_reversed': row.is_reversed,
            'minimum': row.minimum | int, 'maximum': row.maximum | int,
            'points': as_integers(row.points),
        }) -%}
    {%- endfor -%}
    {{ return(found.values() | list) }}
{%- endmacro %}


{#- The answer columns that the given scales need, each once, sorted. -#}
{% macro scale_inputs(scales) -%}
    {%- set names = [] -%}
    {%- for scale in scales -%}
        {%- for item in scale['items'] -%}{%- do names.append(item.variable) -%}{%- endfor -%}
        {%- if scale.zero_variable -%}{%- do names.append(scale.zero_variable) -%}{%- endif -%}
    {%- endfor -%}
    {{ return(names | unique | sort) }}
{%- endmacro %}


{#- Composites whose scales are all among those given. -#}
{% macro codebook_composites(composites, scales) -%}
    {%- set names = scales | map(attribute='name') | list -%}
    {%- set found = {} -%}
    {%- for row in query_rows(
        "select c.composite, c.scale from " ~ composites ~ " as c order by c.composite, c.scale"
    ) if row.scale in names -%}
        {%- do found.setdefault(row.composite, {'name': row.composite, 'scales': []}).scales.append(row.scale) -%}
    {%- endfor -%}
    {{ return(found.values() | list) }}
{%- endmacro %}


{#- Bands of the given scales and composites. -#}
{% macro codebook_bands(bands, scored) -%}
    {%- set names = scored | map(attribute='name') | list -%}
    {%- set found = {} -%}
    {%- for row in query_rows(
        "select b.score, b.bands, b.number, b.lower, b.upper from " ~ bands
        ~ " as b order by b.score, b.bands, b.number"
    ) if row.score in names -%}
        {%- set key = row.score ~ '/' ~ row.bands -%}
        {%- do found.setdefault(key, {
            'score': row.score, 'bands': row.bands | int, 'cuts': [],
        }).cuts.append({'number': row.number | int, 'lower': row.lower, 'upper': row.upper}) -%}
    {%- endfor -%}
    {{ return(found.values() | list) }}
{%- endmacro %}


{#- Conversion tables, raw score to metric score. -#}
{% macro codebook_conversions(conversions) -%}
    {%- set found = {} -%}
    {%- for row in query_rows(
        "select c.conversion, c.raw, c.metric from " ~ conversions
        ~ " as c order by c.conversion, c.raw"
    ) -%}
        {%- do found.setdefault(row.conversion, []).append(
            {'raw': row.raw | int, 'metric': row.metric}
        ) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{#- Indicators of the given surveys, in codebook order, with their frozen cut-offs. -#}
{% macro codebook_indicators(indicators, cutoff_sets, surveys) -%}
    {%- set found = [] -%}
    {%- for row in query_rows(
        "select i.name, i.rule as kind, i.survey, coalesce(c.score, i.score) as score, i.lower, i.upper,"
        ~ " c.operator, c.cut, array_to_string(i.stages, '|') as stages,"
        ~ " array_to_string(i.variables, '|') as variables,"
        ~ " array_to_string(i.positive_codes, '|') as positive_codes,"
        ~ " array_to_string(i.base_codes, '|') as base_codes"
        ~ " from " ~ indicators ~ " as i left join " ~ cutoff_sets ~ " as c"
        ~ " on i.cutoff_set = c.name"
        ~ " where i.survey in ('" ~ surveys | join("', '") ~ "') order by i.position"
    ) -%}
        {%- do found.append({
            'name': row.name, 'kind': row.kind, 'survey': row.survey, 'score': row.score,
            'lower': row.lower, 'upper': row.upper, 'operator': row.operator, 'cut': row.cut,
            'stages': as_texts(row.stages), 'variables': as_texts(row.variables),
            'positive_codes': as_integers(row.positive_codes),
            'base_codes': as_integers(row.base_codes),
        }) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{#- Missing codes that stay in the denominator (policy.md: none by default). -#}
{% macro codebook_kept_missing(missing_codes) -%}
    {%- set rows = query_rows(
        "select m.code from " ~ missing_codes ~ " as m where not m.leaves_denominator order by m.code"
    ) -%}
    {{ return(rows | map(attribute='code') | map('int') | list) }}
{%- endmacro %}


{#- The answer columns and scores that the given indicators need, each once, sorted. -#}
{% macro indicator_inputs(indicators) -%}
    {%- set variables = [] -%}
    {%- set scores = [] -%}
    {%- for indicator in indicators -%}
        {%- for name in indicator.variables -%}{%- do variables.append(name) -%}{%- endfor -%}
        {%- if indicator.score -%}{%- do scores.append(indicator.score) -%}{%- endif -%}
    {%- endfor -%}
    {{ return({'variables': variables | unique | sort, 'scores': scores | unique | sort}) }}
{%- endmacro %}
