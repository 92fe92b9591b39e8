{{/*
Whole workloads. A chart says only what is its own: the containers and volumes, as named templates
that get the same dict as the shape.

    {{ include "kit.deployment" (dict "ctx" . "role" "server" "replicas" 2 "containers" "mlflow.containers"
         "volumes" "mlflow.volumes" "uid" 10001 "files" (include "mlflow.files" .)) }}

  ctx         the root context            role        app.kubernetes.io/component of the pods
  containers  name of a template: a list  volumes     name of a template: a list (may be left out)
  uid         of the pods, 10001          grace       seconds to end in order, 30
  replicas    1 is allowed: no spread, no budget, made anew instead of rolled
  files       text whose change rolls the pods (a ConfigMap's, say); .Values.checksum always does
  name        <release>-<role>; `server` is called like the release
  token       true: the ServiceAccount named like the release, with its token
  init        name of a template: a list of init containers

kit.deployment makes the Deployment and, from two replicas on, its PodDisruptionBudget.
kit.statefulSet takes the same and `serviceName`, `claims` (name of a template); kit.job and
kit.cronJob (`schedule`) take the same without replicas: what they run must be safe to repeat.
kit.service makes a Service: `ports` (dict name -> port). Inside containers:
    {{- include "kit.containerSecurity" . | nindent 4 }}    {{- include "kit.webProbes" (dict "path" "/health" "port" "https" "scheme" "HTTPS") | nindent 2 }}
*/}}

{{- define "kit.name" -}}
{{- .name | default (ternary .ctx.Release.Name (printf "%s-%s" .ctx.Release.Name .role) (eq .role "server")) -}}
{{- end -}}

{{/* Labels of pods: the selector's, and one for each room that they may reach. */}}
{{- define "kit.podLabels" -}}
{{ include "kit.labels" . }}
{{- $rooms := list }}
{{- range .ctx.Values.uses }}
{{- $rooms = append $rooms .room }}
{{- end }}
{{- range uniq $rooms }}
apadana.io/uses-{{ . }}: "true"
{{- end }}
{{- end -}}

{{/* The platform's names are asked for whole (four dots and more): the list of suffixes would be walked first, in vain,
with three answers of "no such name" for each that counts. */}}
{{- define "kit.names" -}}
dnsConfig: {options: [{name: ndots, value: "4"}]}
{{- end -}}

{{- define "kit.priority" -}}
{{- with .ctx.Values.priority -}}
priorityClassName: {{ . }}
{{- end -}}
{{- end -}}

{{- define "kit.template" -}}
metadata:
  labels:
    {{- include "kit.podLabels" . | nindent 4 }}
  annotations:
    {{- include "kit.checksum" .ctx | nindent 4 }}
    {{- with .files }}
    apadana.io/files: {{ . | sha256sum | trunc 16 | quote }}
    {{- end }}
spec:
  {{- if .token }}
  serviceAccountName: {{ .ctx.Release.Name }}
  {{- end }}
  automountServiceAccountToken: {{ .token | default false }}
  enableServiceLinks: false
  {{- include "kit.names" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ .grace | default 30 }}
  {{- include "kit.priority" . | nindent 2 }}
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  securityContext:
    {{- include "kit.podSecurity" (dict "uid" (.uid | default 10001)) | nindent 4 }}
  {{- if gt (int (.replicas | default 1)) 1 }}
  affinity:
    {{- include "kit.antiAffinity" . | nindent 4 }}
  {{- end }}
  {{- include "kit.tolerations" .ctx | nindent 2 }}
  {{- with .init }}
  initContainers:
    {{- include . $ | nindent 4 }}
  {{- end }}
  containers:
    {{- include .containers . | nindent 4 }}
  volumes:
    {{- with .volumes }}
    {{- include . $ | nindent 4 }}
    {{- end }}
    - name: tmp
      emptyDir: {sizeLimit: {{ .tmp | default "64Mi" }}}
{{- end -}}

{{- define "kit.deployment" -}}
{{- $many := gt (int .replicas) 1 -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "kit.name" . }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
spec:
  replicas: {{ .replicas }}
  strategy:
    {{- if $many }}
    # A new pod would find no host of its own before an old one has gone.
    rollingUpdate: {maxUnavailable: 1, maxSurge: 0}
    {{- else }}
    type: Recreate
    {{- end }}
  selector:
    matchLabels:
      {{- include "kit.selector" . | nindent 6 }}
  template:
    {{- include "kit.template" . | nindent 4 }}
{{- if $many }}
---
{{ include "kit.pdb" (merge (dict "name" (include "kit.name" .) "unhealthy" "AlwaysAllow") .) }}
{{- end }}
{{- end -}}

{{- define "kit.statefulSet" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "kit.name" . }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
spec:
  serviceName: {{ .serviceName | default (printf "%s-members" .ctx.Release.Name) }}
  replicas: {{ .replicas }}
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Retain}
  selector:
    matchLabels:
      {{- include "kit.selector" . | nindent 6 }}
  template:
    {{- include "kit.template" . | nindent 4 }}
  {{- with .claims }}
  volumeClaimTemplates:
    {{- include . $ | nindent 4 }}
  {{- end }}
{{- if gt (int .replicas) 1 }}
---
{{ include "kit.pdb" (merge (dict "name" (include "kit.name" .)) .) }}
{{- end }}
{{- end -}}

{{/* The name carries what the Job runs: a Job can't be changed, and the same one is not run twice. */}}
{{- define "kit.job" -}}
{{- $template := include "kit.template" (merge (dict "restart" "Never") .) -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "kit.name" . }}-{{ $template | sha256sum | trunc 8 }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
spec:
  backoffLimit: {{ .tries | default 10 }}
  activeDeadlineSeconds: {{ .deadline | default 900 }}
  template:
    {{- $template | nindent 4 }}
{{- end -}}

{{- define "kit.cronJob" -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "kit.name" . }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
spec:
  schedule: {{ required "kit.cronJob: schedule is needed" .schedule | quote }}
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 2
  startingDeadlineSeconds: 300
  jobTemplate:
    spec:
      backoffLimit: {{ .tries | default 3 }}
      activeDeadlineSeconds: {{ .deadline | default 900 }}
      template:
        {{- include "kit.template" (merge (dict "restart" "Never") .) | nindent 8 }}
{{- end -}}

{{- define "kit.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "kit.name" . }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "kit.selector" . | nindent 4 }}
  ports:
    {{- range $name, $port := .ports }}
    - {name: {{ $name }}, port: {{ $port }}, targetPort: {{ $port }}}
    {{- end }}
{{- end -}}

{{/* The programs below `folder` of the chart's files, as lines of a ConfigMap's data. */}}
{{- define "kit.codeFiles" -}}
{{- range $path, $_ := .ctx.Files.Glob (printf "files/%s/*.py" .folder) }}
{{ base $path }}: {{ $.ctx.Files.Get $path | toJson }}
{{- end }}
{{- end -}}

{{/* The ConfigMap with them, called like the release and `name`. */}}
{{- define "kit.code" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .ctx.Release.Name }}-{{ .name | default "code" }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
data:
  {{- include "kit.codeFiles" . | nindent 2 }}
{{- end -}}

{{/* The ServiceAccount of pods with `token`. What it may do is granted elsewhere. */}}
{{- define "kit.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .ctx.Release.Name }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end -}}

{{/* Sources of a projected volume: a store's log-in below `at`, its authority where `ca` names one; the certificate. */}}
{{- define "kit.loginSource" -}}
- secret:
    name: {{ .secret }}
    items:
      - {key: username, path: {{ .at }}/username}
      - {key: password, path: {{ .at }}/password}
{{- with .ca }}
- configMap:
    name: {{ . }}
    items: [{key: ca.crt, path: {{ $.at }}/ca.crt}]
{{- end }}
{{- end -}}

{{- define "kit.tlsSource" -}}
- secret:
    name: {{ .ctx.Values.secrets.tls }}
    items:
      - {key: tls.crt, path: tls/tls.crt}
      - {key: tls.key, path: tls/tls.key}
      - {key: ca.crt, path: tls/ca.crt}
{{- end -}}

{{- define "kit.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "kit.name" . }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
data:
  {{- range $name, $text := .data }}
  {{ $name }}: |
    {{- $text | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Three probes of one page; a start may take two minutes, `start` seconds if it says so. */}}
{{- define "kit.webProbes" -}}
{{- $get := printf "{path: %s, port: %v, scheme: %s}" .path .port (.scheme | default "HTTPS") -}}
startupProbe:
  httpGet: {{ $get }}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: {{ div (int (.start | default 120)) 2 }}
livenessProbe:
  httpGet: {{ $get }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {{ printf "{path: %s, port: %v, scheme: %s}" (.ready | default .path) .port (.scheme | default "HTTPS") }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}
