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
      {{- include "kit.loginSource" (dict "at" "store" "secret" .ctx.Values.store_secret "ca" .ctx.Values.store_ca) | nindent 6 }}
      {{- include "kit.tlsSource" . | nindent 6 }}
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
    - {name: held, containerPort: 8444}
  {{- include "kit.webProbes" (dict "path" "/health" "port" "https") | nindent 2 }}
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    - {name: code, mountPath: /opt/apadana/components/models/keeper, readOnly: true}
    - {name: judge, mountPath: /opt/apadana/components/models/judge, readOnly: true}
    - {name: told, mountPath: /etc/apadana, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end -}}
