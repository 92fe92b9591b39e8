{{/*
The front of an engine that has one plain port and no log-in of its own: an HAProxy beside it.

    {{ include "kit.frontConfig" (dict "ctx" . "engine" 9091 "web" 9090 "api" 9443) }}
    {{- include "kit.frontContainer" (dict "ctx" . "web" 9090 "api" 9443) | nindent 4 }}
    {{- include "kit.frontVolumes" . | nindent 4 }}

  engine   where the engine listens, on 127.0.0.1
  web      TLS for the gateway alone (its own NetworkPolicy): the person has logged in there
  api      TLS for everybody else: a certificate of .Values.front.callers, or a user of the auth Secret's
           users.cfg; the two pages that health probes ask need neither
  reads    paths: of the users of the group `readers` each may ask for these alone (may be left out)
  member   like api, and always this pod's own engine (may be left out)
  behind   the backends of web and api (may be left out: then this pod's own engine answers); the first of
           them that is up answers, else nobody. A server without a check is taken for up until its first one,
           so each of these backends puts down when a check passed: http-check set-var(proc.NAME) date
  else     backends of the same kind that answer when none of `behind` can, once there was time to look at those
The config ends after the backends `engine` and `nobody`: a chart may go on with more of them.
*/}}

{{- define "kit.frontBehind" -}}
{{- range .behind -}}
use_backend {{ . }} if { nbsrv({{ . }}) gt 0 } { date,sub(proc.{{ . }}) lt 6 }
{{ end -}}
{{- range .else -}}
use_backend {{ . }} if { nbsrv({{ . }}) gt 0 } { date,sub(proc.{{ . }}) lt 6 } { date,sub(proc.started) ge 10 }
{{ end -}}
default_backend {{ ternary "nobody" "engine" (not (empty .behind)) }}
{{- end -}}

{{- define "kit.frontConfig" -}}
global
  log stdout format raw local0 notice
  maxconn 400
  set-var proc.started date
  nbthread 1
  # The key of tls.crt is tls.key, as in every Secret of this kind.
  ssl-load-extra-del-ext
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-server-options ssl-min-ver TLSv1.2

defaults
  mode http
  log global
  option dontlognull
  timeout connect 1s
  timeout client 65s
  timeout server 65s
  timeout http-request 10s
  timeout http-keep-alive 60s
  timeout check 2s
  retries 3
  option redispatch 1

frontend web
  bind :{{ .web }} ssl crt /etc/apadana/tls/tls.crt alpn h2,http/1.1
  # The person's token ends here. What would reload or end the engine is nobody's from outside.
  http-request deny if { path_beg /-/ } !{ method GET HEAD }
  http-request del-header Authorization
  {{- include "kit.frontBehind" . | nindent 2 }}
{{ range $name, $port := (dict "api" .api "member" .member) }}
{{- if $port }}
frontend {{ $name }}
  bind :{{ $port }} ssl crt /etc/apadana/tls/tls.crt ca-file /etc/apadana/tls/ca.crt verify optional alpn h2,http/1.1
  acl health path /-/healthy /-/ready /-/front
  acl showed_certificate ssl_c_used
  acl known_certificate ssl_c_s_dn(cn) -m str {{ join " " $.ctx.Values.front.callers }}
  acl known_user http_auth(callers)
  http-request deny if { path_beg /-/ } !{ method GET HEAD }
  http-request auth realm apadana unless health or showed_certificate known_certificate or known_user
  {{- with $.reads }}
  http-request deny if { http_auth_group(callers) readers } !{ path {{ join " " . }} }
  {{- end }}
  http-request del-header Authorization
  http-request return status 200 content-type text/plain string "here" if { path /-/front }
  {{- if eq $name "api" }}
  # Health is this pod's own, whoever answers the rest.
  use_backend engine if health
  {{- include "kit.frontBehind" $ | nindent 2 }}
  {{- else }}
  default_backend engine
  {{- end }}
{{ end }}
{{- end }}
backend engine
  server own 127.0.0.1:{{ .engine }}
{{- if .behind }}

backend nobody
{{- end }}
{{- end -}}

{{- define "kit.frontContainer" -}}
- name: front
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  # Passwords come from the Secret: the list of users is a second file.
  command: [/usr/sbin/haproxy, -db, -f, /etc/apadana/files/haproxy.cfg, -f, /etc/apadana/auth/users.cfg]
  securityContext:
    {{- include "kit.containerSecurity" . | nindent 4 }}
  ports:
    - {name: web, containerPort: {{ .web }}}
    - {name: api, containerPort: {{ .api }}}
    {{- with .member }}
    - {name: member, containerPort: {{ . }}}
    {{- end }}
  {{- include "kit.webProbes" (dict "path" "/-/front" "port" "api") | nindent 2 }}
  resources:
    {{- toYaml .ctx.Values.front.resources | nindent 4 }}
  volumeMounts:
    - {name: files, mountPath: /etc/apadana/files, readOnly: true}
    - {name: auth, mountPath: /etc/apadana/auth, readOnly: true}
    - {name: tls, mountPath: /etc/apadana/tls, readOnly: true}
{{- end -}}

{{- define "kit.frontVolumes" -}}
- name: files
  configMap: {name: {{ .Release.Name }}-files}
- name: auth
  secret: {secretName: {{ .Values.secrets.auth }}, defaultMode: 0440}
- name: tls
  secret: {secretName: {{ .Values.secrets.tls }}, defaultMode: 0440}
{{- end -}}
