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
      {{- $login := dict "secret" (index $values (printf "%s_secret" $store)) "ca" (index $values (printf "%s_ca" $store)) }}
      {{- include "kit.loginSource" (merge (dict "at" $store) $login) | nindent 6 }}
      {{- end }}
      {{- include "kit.tlsSource" . | nindent 6 }}
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
