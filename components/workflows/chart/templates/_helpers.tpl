{{- define "workflows.volumes" -}}
{{- with .ctx.Values.database_ca }}
- name: database-ca
  configMap: {name: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end -}}

{{- define "workflows.controller" -}}
- name: controller
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  args:
    - --configmap=workflow-controller
    - --executor-image={{ .ctx.Values.executor_image }}
    - --executor-image-pull-policy=IfNotPresent
    # One namespace, and no right beyond it.
    - --namespaced
    - --managed-namespace={{ .ctx.Values.steps_namespace }}
    - --log-format=json
    - --workflow-workers=8
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    - name: LEADER_ELECTION_IDENTITY
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    - {name: LEADER_ELECTION_LEASE_DURATION, value: 30s}
    - {name: LEADER_ELECTION_RENEW_DEADLINE, value: 20s}
    - {name: LEADER_ELECTION_RETRY_PERIOD, value: 5s}
    # How soon a step follows the one before; 10 s if it were not said.
    - {name: DEFAULT_REQUEUE_TIME, value: 2s}
    # Closed off: its pods take a patch from whoever submits (CVE-2026-54526). The bucket's own rule collects.
    - {name: ARGO_ARTIFACT_GC_ENABLED, value: "false"}
    # Templates are values put in, no programs that the controller runs.
    - {name: EXPRESSION_TEMPLATES, value: "false"}
    - {name: ARGO_PPROF, value: "false"}
    {{- if .ctx.Values.database_ca }}
    - {name: PGSSLROOTCERT, value: /etc/apadana/database/ca.crt}
    {{- end }}
    - {name: PGCONNECT_TIMEOUT, value: {{ .ctx.Values.connect_seconds | quote }}}
  ports:
    - {name: metrics, containerPort: 9090}
    - {name: health, containerPort: 6060}
  # Says 200 while it waits for the lead, and no more once a workflow was left alone for five minutes.
  {{- include "kit.webProbes" (dict "path" "/healthz" "port" "health" "scheme" "HTTP" "start" 120) | nindent 2 }}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    {{- if .ctx.Values.database_ca }}
    - {name: database-ca, mountPath: /etc/apadana/database, readOnly: true}
    {{- end }}
    - {name: tmp, mountPath: /tmp}
{{- end -}}
