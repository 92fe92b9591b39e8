{{- define "alertmanager.front" -}}
{{ include "kit.frontConfig" (dict "ctx" . "engine" 19093 "web" 9093 "api" 9443) }}
{{- end -}}

{{- define "alertmanager.files" -}}
{{ tpl (.Files.Get "files/alertmanager.yml.tpl") . }}{{ tpl (.Files.Get "files/gossip.yml.tpl") . }}{{ .Files.Get "files/page.html" }}{{ include "alertmanager.front" . }}
{{- end -}}

{{- define "alertmanager.containers" -}}
- name: alertmanager
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [/usr/bin/prometheus-alertmanager]
  args:
    - --config.file=/etc/apadana/files/alertmanager.yml
    - --storage.path=/data
    - --data.retention={{ .ctx.Values.keep_hours }}h
    - --web.listen-address=127.0.0.1:19093
    - --web.external-url={{ .ctx.Values.external_url }}
    - --web.ui-path=/etc/apadana/page
    - --cluster.listen-address=0.0.0.0:9094
    - --cluster.advertise-address=$(POD_IP):9094
    - --cluster.tls-config=/etc/apadana/files/gossip.yml
    {{- range $i := until (int .ctx.Values.members) }}
    - --cluster.peer={{ $.ctx.Release.Name }}-{{ $i }}.{{ $.ctx.Release.Name }}-members.{{ $.ctx.Release.Namespace }}.svc.{{ $.ctx.Values.cluster_domain }}:9094
    {{- end }}
    # The n-th member waits n times as long for word that the group was sent.
    - --cluster.peer-timeout=5s
    - --cluster.pushpull-interval=15s
    - --cluster.settle-timeout=15s
    - --log.format=json
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: GOMEMLIMIT, value: {{ printf "%dMiB" (div (mul (int .ctx.Values.memory_limit_mib) 8) 10) }}}
    - {name: GOMAXPROCS, value: "2"}
  ports:
    - {name: gossip, containerPort: 9094}
  # Asked through the front: the engine itself listens on the pod's loopback only.
  {{- include "kit.webProbes" (dict "path" "/-/healthy" "ready" "/-/ready" "port" 9443) | nindent 2 }}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    - {name: data, mountPath: /data}
    - {name: files, mountPath: /etc/apadana/files, readOnly: true}
    - {name: page, mountPath: /etc/apadana/page, readOnly: true}
    - {name: tls, mountPath: /etc/apadana/tls, readOnly: true}
    {{- range .ctx.Values.receivers }}
    {{- if .secret }}
    - {name: receiver-{{ .name }}, mountPath: /etc/apadana/receivers/{{ .name }}, readOnly: true}
    {{- end }}
    {{- end }}
{{ include "kit.frontContainer" (dict "ctx" .ctx "web" 9093 "api" 9443) }}
{{- end -}}

{{- define "alertmanager.volumes" -}}
{{ include "kit.frontVolumes" .ctx }}
- name: page
  configMap: {name: {{ .ctx.Release.Name }}-page}
# A member that comes back is given everything by the other two.
- name: data
  emptyDir: {sizeLimit: 64Mi}
{{- range .ctx.Values.receivers }}
{{- if .secret }}
- name: receiver-{{ .name }}
  secret: {secretName: {{ .secret }}, defaultMode: 0440, items: [{key: token, path: token}]}
{{- end }}
{{- end }}
{{- end -}}
