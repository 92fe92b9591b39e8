{{/* The history server has no page for health that every version keeps; the answer to its own version costs no store. */}}
{{- define "spark.front" -}}
{{ include "kit.frontConfig" (dict "ctx" . "engine" 18081 "web" 18480 "api" 9443) }}
  http-request use-service prometheus-exporter if { path /metrics }
  http-request set-path /api/v1/version if { path /-/healthy /-/ready }
{{- end -}}

{{- define "spark.containers" -}}
- name: spark
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [python3, -m, apadana_spark, history]
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    - {name: STORE_ADDRESS, value: {{ .ctx.Values.events.address | quote }}}
    - {name: EVENTS, value: "s3a://{{ .ctx.Values.events.name }}/"}
    - {name: AWS_REGION, value: {{ .ctx.Values.region | quote }}}
    - {name: HEAP_MIB, value: {{ .ctx.Values.heap_mib | quote }}}
    - {name: PORT, value: "18081"}
    - {name: HOME, value: /tmp}
  # Asked through the front: the engine itself listens on the pod's loopback only.
  {{- include "kit.webProbes" (dict "path" "/-/healthy" "port" 9443 "start" 300) | nindent 2 }}
  lifecycle:
    # Until the proxies know that it goes it still answers.
    preStop: {sleep: {seconds: 3}}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    - {name: store, mountPath: /etc/apadana/store, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{ include "kit.frontContainer" (dict "ctx" .ctx "web" 18480 "api" 9443) }}
{{- end -}}

{{- define "spark.volumes" -}}
- name: store
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .ctx.Values.events.secret }}
          items:
            - {key: username, path: username}
            - {key: password, path: password}
      {{- with .ctx.Values.events.ca }}
      - configMap:
          name: {{ . }}
          items: [{key: ca.crt, path: ca.crt}]
      {{- end }}
{{ include "kit.frontVolumes" .ctx }}
{{- end -}}
