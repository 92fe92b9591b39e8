{{/* The program's files. */}}
{{- define "streaming.files" -}}
{{- range $path, $_ := .ctx.Files.Glob "files/worker/*.py" }}
{{ base $path }}: {{ $.ctx.Files.Get $path | toJson }}
{{- end }}
{{- end -}}

{{- define "streaming.volumes" -}}
{{- $values := .ctx.Values }}
- name: code
  configMap: {name: {{ .ctx.Release.Name }}-code}
- name: told
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ .ctx.Release.Name }}
          items: [{key: streaming.json, path: streaming.json}]
      {{- range $store := list "database" "online" "kafka" }}
      - secret:
          name: {{ index $values (printf "%s_secret" $store) }}
          items:
            - {key: username, path: {{ $store }}/username}
            - {key: password, path: {{ $store }}/password}
      {{- with index $values (printf "%s_ca" $store) }}
      - configMap:
          name: {{ . }}
          items: [{key: ca.crt, path: {{ $store }}/ca.crt}]
      {{- end }}
      {{- end }}
      - secret:
          name: {{ $values.secrets.tls }}
          items:
            - {key: tls.crt, path: tls/tls.crt}
            - {key: tls.key, path: tls/tls.key}
            - {key: ca.crt, path: tls/ca.crt}
{{- end -}}

{{- define "streaming.containers" -}}
- name: streaming
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [python3, -m, components.streaming.worker]
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    - {name: PYTHONPATH, value: /opt/apadana}
    - {name: PYTHONDONTWRITEBYTECODE, value: "1"}
    - {name: MALLOC_ARENA_MAX, value: "2"}
  ports:
    - {name: https, containerPort: 8443}
  # Healthy once it has its table, for which the database has to be.
  {{- include "kit.webProbes" (dict "path" "/health" "port" "https" "start" 420) | nindent 2 }}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    - {name: code, mountPath: /opt/apadana/components/streaming/worker, readOnly: true}
    - {name: told, mountPath: /etc/apadana, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end -}}
