{{/*
A small program that keeps an engine's accounts as the settings say; Ready means: they are so.
It finds files/accounts.py of its chart and `wanted` (a dict) under /accounts, and touches /tmp/ready
once they are so, /tmp/alive after each round.

    {{ include "kit.accounts" (dict "ctx" . "wanted" (dict "users" .Values.users)) }}
*/}}
{{- define "kit.accounts" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .ctx.Release.Name }}-accounts
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" (dict "ctx" .ctx "role" "accounts") | nindent 4 }}
data:
  accounts.py: |
    {{- .ctx.Files.Get "files/accounts.py" | nindent 4 }}
  wanted.json: {{ .wanted | toJson | quote }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .ctx.Release.Name }}-accounts
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" (dict "ctx" .ctx "role" "accounts") | nindent 4 }}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector:
    matchLabels:
      {{- include "kit.selector" (dict "ctx" .ctx "role" "accounts") | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "kit.labels" (dict "ctx" .ctx "role" "accounts") | nindent 8 }}
      annotations:
        apadana.io/checksum: {{ .ctx.Values.accounts_checksum | quote }}
        apadana.io/config: {{ printf "%s%s" (.wanted | toJson) (.ctx.Files.Get "files/accounts.py") | sha256sum | trunc 16 | quote }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- include "kit.names" . | nindent 6 }}
      {{- include "kit.priority" . | nindent 6 }}
      terminationGracePeriodSeconds: 5
      securityContext:
        {{- include "kit.podSecurity" (dict "uid" 10001) | nindent 8 }}
      {{- include "kit.tolerations" .ctx | nindent 6 }}
      containers:
        - name: accounts
          image: {{ .ctx.Values.accounts_image }}
          imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
          command: [python3, /accounts/accounts.py]
          securityContext:
            {{- include "kit.containerSecurity" . | nindent 12 }}
          startupProbe:
            exec: {command: [test, -e, /tmp/ready]}
            periodSeconds: 3
            failureThreshold: 200
          readinessProbe:
            # Each look starts a process, a tenth of a second of a processor: often only until the first success.
            exec: {command: [test, -e, /tmp/ready]}
            periodSeconds: 60
          livenessProbe:
            # Touched after each round, good or bad: an old one means that the loop hangs.
            exec: {command: [sh, -c, 'test -n "$(find /tmp/alive -mmin -10)"']}
            periodSeconds: 120
            timeoutSeconds: 10
          resources:
            {{- toYaml .ctx.Values.accounts_resources | nindent 12 }}
          volumeMounts:
            - {name: accounts, mountPath: /accounts, readOnly: true}
            - {name: auth, mountPath: /auth, readOnly: true}
            - {name: tls, mountPath: /tls, readOnly: true}
            - {name: tmp, mountPath: /tmp}
      volumes:
        - name: accounts
          configMap: {name: {{ .ctx.Release.Name }}-accounts}
        - name: auth
          secret: {secretName: {{ .ctx.Values.secrets.auth }}, defaultMode: 0440}
        - name: tls
          secret: {secretName: {{ .ctx.Values.secrets.tls }}, defaultMode: 0440}
        - name: tmp
          emptyDir: {sizeLimit: 1Mi}
{{- end -}}
