{{- /* Whether it asks the cluster itself, with a token of its own: "true", or nothing. */}}
{{- define "prometheus.asksCluster" -}}
{{- if or .Values.watch_volumes .Values.watch_control_planes .Values.watch_names }}true{{ end }}
{{- end }}
{{- define "prometheus.front" -}}
{{- $window := list }}
{{- $running := list }}
{{- range $i := until (int $.Values.replicas) }}
{{- $window = append $window (printf "window_%d" $i) }}
{{- $running = append $running (printf "running_%d" $i) }}
{{- end -}}
{{ include "kit.frontConfig" (dict "ctx" . "engine" 9091 "web" 9090 "api" 9443 "member" 9444 "behind" $window "else" $running) }}

{{ tpl (.Files.Get "files/backends.cfg.tpl") . }}
{{- end -}}

{{- define "prometheus.files" -}}
{{ tpl (.Files.Get "files/prometheus.yml.tpl") . }}{{ tpl (.Files.Get "files/certificates.yml.tpl") . }}{{ tpl (.Files.Get "files/window.yml.tpl") . }}{{ .Values.rules | toJson }}{{ include "prometheus.front" . }}
{{- end -}}

{{- define "prometheus.containers" -}}
- name: prometheus
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [/usr/bin/prometheus]
  args:
    - --config.file=/etc/apadana/files/prometheus.yml
    - --storage.tsdb.path=/data/tsdb
    - --storage.tsdb.retention.time={{ .ctx.Values.retention_days }}d
    - --storage.tsdb.retention.size={{ .ctx.Values.retention_mib }}MB
    - --web.listen-address=127.0.0.1:9091
    - --web.external-url={{ .ctx.Values.external_url }}
    - --web.page-title=Prometheus of {{ .ctx.Values.site }}
    # One person's question must not take the memory of all.
    - --query.max-samples=5000000
    - --query.max-concurrency=8
    - --query.timeout=30s
    - --log.format=json
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    - {name: GOMEMLIMIT, value: {{ printf "%dMiB" (div (mul (int .ctx.Values.memory_limit_mib) 8) 10) }}}
    - {name: GOMAXPROCS, value: "2"}
  # Asked through the front: the engine itself listens on the pod's loopback only. Reading the log of a
  # big volume again takes minutes.
  {{- include "kit.webProbes" (dict "path" "/-/healthy" "ready" "/-/ready" "port" 9444 "start" 900) | nindent 2 }}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    - {name: data, mountPath: /data}
    - {name: files, mountPath: /etc/apadana/files, readOnly: true}
    - {name: rules, mountPath: /etc/apadana/rules, readOnly: true}
    - {name: tls, mountPath: /etc/apadana/tls, readOnly: true}
    - {name: tmp, mountPath: /tmp}
- name: certificates
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [blackbox-exporter]
  args:
    - --config.file=/etc/apadana/files/certificates.yml
    # It looks wherever it is told to: the NetworkPolicy opens its port to nobody but the replicas.
    - --web.listen-address=:9115
    - --log.format=json
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    - {name: GOMAXPROCS, value: "1"}
    - {name: GOMEMLIMIT, value: 24MiB}
  {{- include "kit.webProbes" (dict "path" "/-/healthy" "port" 9115 "scheme" "HTTP") | nindent 2 }}
  resources:
    {{- toYaml .ctx.Values.certificates.resources | nindent 4 }}
  volumeMounts:
    - {name: files, mountPath: /etc/apadana/files, readOnly: true}
{{ include "kit.frontContainer" (dict "ctx" .ctx "web" 9090 "api" 9443 "member" 9444) }}
{{- end -}}

{{- define "prometheus.volumes" -}}
{{ include "kit.frontVolumes" .ctx }}
- name: rules
  configMap: {name: {{ .ctx.Release.Name }}-rules}
{{- end -}}

{{- define "prometheus.claims" -}}
{{ include "kit.claim" (dict "ctx" .ctx "name" "data") }}
{{- end -}}
