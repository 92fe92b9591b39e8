{{- /* The files of one folder as ConfigMap data. Programs go in as they are: their braces are not Helm's. */ -}}
{{- define "postgres.files" -}}
{{- range $path, $_ := .ctx.Files.Glob (printf "%s/*" .folder) }}
{{ base $path }}: |
  {{- $text := $.ctx.Files.Get $path }}
  {{- if not (hasSuffix ".py" $path) }}
  {{- $text = tpl $text $.ctx }}
  {{- end }}
  {{- $text | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The members' names, from the first one on. */ -}}
{{- define "postgres.members" -}}
{{- $names := list -}}
{{- range until (int .Values.members) }}{{ $names = append $names (printf "%s-%d" $.Release.Name .) }}{{ end -}}
{{ join " " $names }}
{{- end -}}
