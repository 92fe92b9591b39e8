{{/* One folder of the keeper's code: (dict "ctx" . "folder" "keeper"). */}}
{{- define "models.files" -}}
{{- range $path, $_ := .ctx.Files.Glob (printf "files/%s/*.py" .folder) }}
{{ base $path }}: {{ $.ctx.Files.Get $path | toJson }}
{{- end }}
{{- end -}}

{{- define "models.volumes" -}}
- name: code
  configMap: {name: {{ .ctx.Release.Name }}-code}
- name: judge
  configMap: {name: {{ .ctx.Release.Name }}-judge}
- name: told
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ .ctx.Release.Name }}
          items: [{key: keeper.json, path: keeper.json}]
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

{{- define "models.containers" -}}
- name: keeper
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  command: [python3, -m, components.models.keeper]
  securityContext:
    {{- include "kit.containerSecurity" .ctx | nindent 4 }}
  env:
    - {name: PYTHONPATH, value: /opt/apadana}
    - {name: PYTHONDONTWRITEBYTECODE, value: "1"}
    - {name: MALLOC_ARENA_MAX, value: "2"}
  ports:
    - {name: https, containerPort: 8443}
  {{- include "kit.webProbes" (dict "path" "/health" "port" "https") | nindent 2 }}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    - {name: code, mountPath: /opt/apadana/components/models/keeper, readOnly: true}
    - {name: judge, mountPath: /opt/apadana/components/models/judge, readOnly: true}
    - {name: told, mountPath: /etc/apadana, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end -}}
