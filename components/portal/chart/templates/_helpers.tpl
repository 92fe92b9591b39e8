{{/* The program's files. */}}
{{- define "portal.files" -}}
{{- range $path, $_ := .ctx.Files.Glob "files/server/*.py" }}
{{ base $path }}: {{ $.ctx.Files.Get $path | toJson }}
{{- end }}
{{- end -}}

{{- define "portal.volumes" -}}
- name: code
  configMap: {name: {{ .ctx.Release.Name }}-code}
- name: told
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ .ctx.Release.Name }}
          items: [{key: portal.json, path: portal.json}]
      - secret:
          name: {{ .ctx.Values.login_secret }}
          items:
            - {key: username, path: login/username}
            - {key: password, path: login/password}
      - secret:
          name: {{ .ctx.Values.store_secret }}
          items:
            - {key: username, path: store/username}
            - {key: password, path: store/password}
      {{- with .ctx.Values.store_ca }}
      - configMap:
          name: {{ . }}
          items: [{key: ca.crt, path: store/ca.crt}]
      {{- end }}
      - secret:
          name: {{ .ctx.Values.secrets.tls }}
          items:
            - {key: tls.crt, path: tls/tls.crt}
            - {key: tls.key, path: tls/tls.key}
            - {key: ca.crt, path: tls/ca.crt}
{{- end -}}

{{- define "portal.containers" -}}
- name: portal
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [python3, -m, components.portal.server]
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    - {name: PYTHONPATH, value: /opt/apadana}
    - {name: PYTHONDONTWRITEBYTECODE, value: "1"}
    - {name: MALLOC_ARENA_MAX, value: "2"}
  ports:
    - {name: https, containerPort: 8443}
  {{- include "kit.webProbes" (dict "path" "/health" "port" "https") | nindent 2 }}
  lifecycle:
    # Until the proxies know that it goes it still answers.
    preStop: {sleep: {seconds: 3}}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    - {name: code, mountPath: /opt/apadana/components/portal/server, readOnly: true}
    - {name: told, mountPath: /etc/apadana, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end -}}
