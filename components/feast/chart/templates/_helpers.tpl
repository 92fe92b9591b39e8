{{- define "feast.front" -}}
{{ include "kit.frontConfig" (dict "ctx" . "engine" 16566 "web" 6566 "api" 9443
  "reads" (list "/get-online-features" "/-/front")) }}
{{- end -}}

{{/* What must roll the pods when it changes. */}}
{{- define "feast.files" -}}
{{ toJson .Values.definitions }}{{ include "feast.front" . }}
{{- end -}}

{{/* What is the same for servers and Jobs: nothing secret; passwords are mounted files. */}}
{{- define "feast.env" -}}
{{- $values := .ctx.Values -}}
- {name: DATABASE_ADDRESS, value: {{ $values.database.address | quote }}}
- {name: DATABASE_NAME, value: {{ $values.database.name | quote }}}
- {name: DATABASE_CONNECT_SECONDS, value: {{ $values.database.connect_seconds | quote }}}
- {name: ONLINE_ADDRESSES, value: {{ $values.online.address | quote }}}
- {name: ONLINE_SERVICE_NAME, value: {{ $values.service_name | quote }}}
- {name: ONLINE_PREFIX, value: {{ $values.online.name | quote }}}
- {name: DO_NOT_TRACK, value: "true"}
# numpy would start a thread for each core of the host, and each would have its own arena.
- {name: OPENBLAS_NUM_THREADS, value: "1"}
- {name: MALLOC_ARENA_MAX, value: "2"}
- {name: HOME, value: /tmp}
{{- end -}}

{{- define "feast.mounts" -}}
- {name: database, mountPath: /etc/apadana/database, readOnly: true}
- {name: online, mountPath: /etc/apadana/online, readOnly: true}
- {name: definitions, mountPath: /etc/apadana/definitions, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* A store's Secret and its authority, side by side. */}}
{{- define "feast.store" -}}
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

{{- define "feast.jobVolumes" -}}
- name: database
  {{- include "feast.store" .ctx.Values.database | nindent 2 }}
- name: online
  {{- include "feast.store" .ctx.Values.online | nindent 2 }}
- name: definitions
  configMap: {name: {{ .ctx.Release.Name }}-definitions}
{{- end -}}

{{- define "feast.volumes" -}}
{{ include "feast.jobVolumes" . }}
{{ include "kit.frontVolumes" .ctx }}
{{- end -}}

{{- define "feast.containers" -}}
- name: feast
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [python3, -m, apadana_feast, serve]
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    {{- include "feast.env" . | nindent 4 }}
    - {name: PORT, value: "16566"}
    - {name: CONNECTIONS, value: {{ .ctx.Values.pushes | quote }}}
  # Asked through the front: the engine itself listens on the pod's loopback only. The first start
  # waits for the Job.
  {{- include "kit.webProbes" (dict "path" "/-/healthy" "ready" "/-/ready" "port" 9443 "start" 420) | nindent 2 }}
  lifecycle:
    # Until the proxies know that it goes it still answers.
    preStop: {sleep: {seconds: 3}}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    {{- include "feast.mounts" . | nindent 4 }}
{{ include "kit.frontContainer" (dict "ctx" .ctx "web" 6566 "api" 9443) }}
{{- end -}}

{{/* command: apply or materialise */}}
{{- define "feast.work" -}}
- name: {{ .command }}
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [python3, -m, apadana_feast, {{ .command }}]
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    {{- include "feast.env" . | nindent 4 }}
  resources:
    {{- toYaml .ctx.Values.job_resources | nindent 4 }}
  volumeMounts:
    {{- include "feast.mounts" . | nindent 4 }}
{{- end -}}
