{{- define "outcomes.volumes" -}}
- name: code
  configMap: {name: {{ .ctx.Release.Name }}-code}
- name: told
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ .ctx.Release.Name }}
          items: [{key: outcomes.json, path: outcomes.json}]
      {{- include "kit.loginSource" (dict "at" "database" "secret" .ctx.Values.database_secret "ca" .ctx.Values.database_ca) | nindent 6 }}
      {{- include "kit.tlsSource" . | nindent 6 }}
{{- end -}}

{{- define "outcomes.containers" -}}
- name: outcomes
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [python3, -m, components.outcomes.server]
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    - {name: PYTHONPATH, value: /opt/apadana}
    - {name: PYTHONDONTWRITEBYTECODE, value: "1"}
    - {name: MALLOC_ARENA_MAX, value: "2"}
  ports:
    - {name: https, containerPort: 8443}
  # Healthy once the tables are there, for which the database has to be.
  {{- include "kit.webProbes" (dict "path" "/health" "port" "https" "start" 420) | nindent 2 }}
  lifecycle:
    # Until the proxies know that it goes it still answers.
    preStop: {sleep: {seconds: 3}}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    - {name: code, mountPath: /opt/apadana/components/outcomes/server, readOnly: true}
    - {name: told, mountPath: /etc/apadana, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end -}}
