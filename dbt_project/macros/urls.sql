{#-
    The host of a referrer without `www.` and `m.`, in lower case, its first 100 characters; `(direct)` without one, and where it is
    that of the page. As in customer360.recommendations.recommend.referrer_host.
-#}
{% macro referrer_host(referrer, page_url) -%}
    case
        when {{ url_host(referrer) }} in ('', {{ url_host(page_url) }}) then '(direct)'
        else substring({{ url_host(referrer) }}, 1, 100)
    end
{%- endmacro %}


{#- The host of a URL without `www.` and `m.`, in lower case; empty where there is none. -#}
{% macro url_host(url) -%}
    regexp_replace(regexp_extract(lower(coalesce({{ url }}, '')), '^[a-z][a-z0-9+.-]*://([^/?#]*@)?([^/:?#]*)', 2), '^(www|m)[.]', '')
{%- endmacro %}


{#- A URL without its query and fragment, which may hold anything, personal data too. -#}
{% macro url_without_query(url) -%}
    regexp_extract({{ url }}, '^([^?#]*)', 1)
{%- endmacro %}
