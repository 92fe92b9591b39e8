{{/* What is the same for the servers and the Job: nothing secret; start.py adds that from files. */}}
{{- define "mlflow.env" -}}
{{- $values := .ctx.Values -}}
- {name: DATABASE_ADDRESS, value: {{ $values.database.address | quote }}}
- {name: DATABASE_NAME, value: {{ $values.database.name | quote }}}
- {name: DATABASE_CONNECT_SECONDS, value: {{ $values.database.connect_seconds | quote }}}
- {name: MLFLOW_SQLALCHEMYSTORE_POOL_SIZE, value: {{ index $values.pool 0 | quote }}}
- {name: MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW, value: {{ index $values.pool 1 | quote }}}
- {name: MLFLOW_DISABLE_TELEMETRY, value: "true"}
- {name: DO_NOT_TRACK, value: "true"}
# numpy would start a thread for each core of the host, and each would have its own arena.
- {name: OPENBLAS_NUM_THREADS, value: "1"}
- {name: MALLOC_ARENA_MAX, value: "2"}
- {name: HOME, value: /tmp}
{{- end -}}

{{- define "mlflow.mounts" -}}
- {name: start, mountPath: /opt/apadana, readOnly: true}
- {name: database, mountPath: /etc/apadana/database, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* A store's Secret and its authority, side by side. */}}
{{- define "mlflow.store" -}}
projected:
  defaultMode: 0440
  sources:
    - secret:
        name: {{ .secret }}
        items:
          - {key: username, path: username}
          - {key: password, path: password}
    {{- with .ca }}
    - configMap:
        name: {{ . }}
        items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
{{- end -}}

{{- define "mlflow.databaseVolumes" -}}
- name: start
  configMap: {name: {{ .ctx.Release.Name }}-start}
- name: database
  {{- include "mlflow.store" .ctx.Values.database | nindent 2 }}
{{- end -}}

{{- define "mlflow.volumes" -}}
{{ include "mlflow.databaseVolumes" . }}
- name: artefacts
  {{- include "mlflow.store" .ctx.Values.artefacts | nindent 2 }}
- name: auth
  secret: {secretName: {{ .ctx.Values.secrets.auth }}, defaultMode: 0440}
- name: tls
  secret: {secretName: {{ .ctx.Values.secrets.tls }}, defaultMode: 0440}
{{- end -}}

{{- define "mlflow.server" -}}
- name: mlflow
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [python3, /opt/apadana/start.py, serve]
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    {{- include "mlflow.env" . | nindent 4 }}
    - {name: MLFLOW_S3_ENDPOINT_URL, value: "https://{{ .ctx.Values.artefacts.address }}"}
    - {name: ARTEFACTS, value: "s3://{{ .ctx.Values.artefacts.name }}/"}
    - {name: ARTEFACTS_CONNECT_SECONDS, value: {{ .ctx.Values.artefacts.connect_seconds | quote }}}
    - {name: AWS_DEFAULT_REGION, value: {{ .ctx.Values.region }}}
    - {name: MLFLOW_SERVER_ALLOWED_HOSTS, value: {{ join "," .ctx.Values.hosts | quote }}}
    - {name: MLFLOW_SERVER_CORS_ALLOWED_ORIGINS, value: {{ .ctx.Values.origin | quote }}}
  ports:
    - {name: https, containerPort: 5000}
  # The first start waits for the Job.
  {{- include "kit.webProbes" (dict "path" "/health" "port" "https" "start" 420) | nindent 2 }}
  lifecycle:
    # Until the proxies know that it goes it still answers.
    preStop: {sleep: {seconds: 3}}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    {{- include "mlflow.mounts" . | nindent 4 }}
    - {name: artefacts, mountPath: /etc/apadana/artefacts, readOnly: true}
    - {name: auth, mountPath: /etc/apadana/auth, readOnly: true}
    - {name: tls, mountPath: /etc/apadana/tls, readOnly: true}
{{- end -}}

{{- define "mlflow.migration" -}}
- name: migrate
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [python3, /opt/apadana/start.py, migrate]
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    {{- include "mlflow.env" . | nindent 4 }}
  resources:
    {{- toYaml .ctx.Values.migration_resources | nindent 4 }}
  volumeMounts:
    {{- include "mlflow.mounts" . | nindent 4 }}
{{- end -}}
