{{/* The properties of one pool: the file is a template, so that a person can read it as a whole. */}}
{{- define "kafka.properties" -}}
{{- tpl (.ctx.Files.Get "files/server.properties") (dict "pool" .pool "values" .ctx.Values "Template" .ctx.Template) -}}
{{- end -}}

{{/* Rolls the pods when what they read at start changes. */}}
{{- define "kafka.configChecksum" -}}
{{- printf "%s%s" (include "kafka.properties" .) (.ctx.Files.Get "files/jmx.yaml") | sha256sum | trunc 16 -}}
{{- end -}}
