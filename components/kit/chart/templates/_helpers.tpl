{{/*
The shapes that every chart shares. A chart reaches them by the committed symlink
charts/kit -> ../../../kit/chart and, in its Chart.yaml,
    dependencies: [{name: kit, version: 0.1.0, repository: ""}]

metadata.labels         {{- include "kit.labels" (dict "ctx" . "role" "server") | nindent 4 }}
selector.matchLabels    {{- include "kit.selector" (dict "ctx" . "role" "server") | nindent 6 }}
pod securityContext     {{- include "kit.podSecurity" (dict "uid" 1000) | nindent 8 }}
container securityContext {{- include "kit.containerSecurity" . | nindent 12 }}
affinity                {{- include "kit.antiAffinity" (dict "ctx" . "role" "server") | nindent 8 }}   (.Values.placement)
tolerations             {{- include "kit.tolerations" . | nindent 6 }}                 whole key; .Values.tolerations
pod annotations         {{- include "kit.checksum" . | nindent 8 }}                    one line; .Values.checksum
volumeClaimTemplates    {{- include "kit.claim" (dict "ctx" . "name" "data") | nindent 4 }}  one list item; .Values.storage
whole documents (start each with ---):
    {{ include "kit.pdb" (dict "ctx" . "role" "server") }}
    {{ include "kit.denyAll" (dict "ctx" .) }}
    {{ include "kit.membersService" (dict "ctx" . "role" "server" "ports" (dict "client" 9092)) }}
    {{ include "kit.networkPolicy" (dict "ctx" . "role" "server" "ports" (list 9092) "peers" (list ...) "egress" (list ...)) }}
      ports   TCP ports open to the same app, to pods labelled apadana.io/client: "true" (the validator's)
              and to those labelled apadana.io/uses-<release>: "true"
      peers   more `from` items for those ports (raw)
              ({{ include "kit.workPeers" (dict "ctx" .) | fromYamlArray }}: pods of users that use the room)
      egress  more egress rules (raw)
              ({{ include "kit.apiServers" (dict "ctx" .) | fromYamlArray }}: to the API servers; .Values.api_servers)
      members of one app reach each other on every port, all reach the DNS and the rooms in .Values.uses.
Whole workloads stand in _shapes.tpl.
*/}}

{{- define "kit.selector" -}}
app.kubernetes.io/name: {{ .ctx.Chart.Name }}
app.kubernetes.io/instance: {{ .ctx.Release.Name }}
app.kubernetes.io/component: {{ required "kit: role is needed" .role }}
{{- end -}}

{{- define "kit.labels" -}}
{{ include "kit.selector" . }}
app.kubernetes.io/part-of: apadana
{{- end -}}

{{- define "kit.app" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kit.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .uid }}
runAsGroup: {{ .gid | default .uid }}
fsGroup: {{ .gid | default .uid }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "kit.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "kit.antiAffinity" -}}
{{- $placement := .ctx.Values.placement | default "required" -}}
{{- if eq $placement "required" -}}
podAntiAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- include "kit.selector" . | nindent 10 }}
{{- else if eq $placement "preferred" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "kit.selector" . | nindent 12 }}
{{- else if eq $placement "none" -}}
{}
{{- else -}}
{{- fail (printf "placement is %q; allowed: required, preferred, none" $placement) -}}
{{- end -}}
{{- end -}}

{{- define "kit.tolerations" -}}
tolerations: {{ .Values.tolerations | default list | toJson }}
{{- end -}}

{{- define "kit.checksum" -}}
apadana.io/checksum: {{ .Values.checksum | default "" | quote }}
{{- end -}}

{{- define "kit.claim" -}}
- metadata:
    name: {{ .name | default "data" }}
    labels:
      {{- include "kit.app" .ctx | nindent 6 }}
  spec:
    accessModes: [ReadWriteOnce]
    storageClassName: {{ .ctx.Values.storage.class }}
    {{- with .ctx.Values.storage.match }}
    selector:
      matchLabels: {{- toJson . | nindent 8 }}
    {{- end }}
    resources:
      requests:
        storage: {{ .ctx.Values.storage.size_gib }}Gi
{{- end -}}

{{- define "kit.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name | default (printf "%s-%s" .ctx.Release.Name .role) }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  {{- with .unhealthy }}
  # A pod that is broken anyway must not keep its host from being drained.
  unhealthyPodEvictionPolicy: {{ . }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "kit.selector" . | nindent 6 }}
{{- end -}}

{{- define "kit.membersService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name | default (printf "%s-members" .ctx.Release.Name) }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "kit.selector" . | nindent 4 }}
  ports:
    {{- range $name, $port := .ports }}
    - name: {{ $name }}
      port: {{ $port }}
      targetPort: {{ $port }}
    {{- end }}
{{- end -}}

{{- define "kit.denyAll" -}}
{{- $ctx := .ctx | default . -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ $ctx.Release.Name }}-deny-all
  namespace: {{ $ctx.Release.Namespace }}
  labels:
    {{- include "kit.app" $ctx | nindent 4 }}
    app.kubernetes.io/part-of: apadana
spec:
  podSelector:
    matchLabels:
      {{- include "kit.app" $ctx | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end -}}

{{- define "kit.apiServers" -}}
- ports:
    {{- range .ctx.Values.api_servers.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .ctx.Values.api_servers.cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Pods that users bring and that use this room. Whoever puts this label on a pod there still needs a password. */}}
{{- define "kit.workPeers" -}}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ .ctx.Release.Namespace }}-work}
  podSelector:
    matchLabels: {apadana.io/uses-{{ .ctx.Release.Name }}: "true"}
{{- end -}}

{{- define "kit.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name | default (printf "%s-%s" .ctx.Release.Name .role) }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "kit.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "kit.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - podSelector:
            matchLabels:
              {{- include "kit.app" .ctx | nindent 14 }}
    {{- if .ports }}
    - from:
        - podSelector:
            matchLabels:
              apadana.io/client: "true"
        - podSelector:
            matchLabels:
              apadana.io/uses-{{ .ctx.Release.Name }}: "true"
        {{- with .peers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- range .ports }}
        - protocol: TCP
          port: {{ . }}
        {{- end }}
    {{- end }}
  egress:
    - to:
        - podSelector:
            matchLabels:
              {{- include "kit.app" .ctx | nindent 14 }}
    - to:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: kube-system
          podSelector:
            matchLabels:
              k8s-app: kube-dns
      {{- /* no ports: a policy sees them after translation, and where CoreDNS listens is the cluster's matter */}}
    {{- range .ctx.Values.uses }}
    {{- if .external }}
    # The client's own service: where it is, only its name server knows.
    - ports: {{- range .ports }}
        - {protocol: TCP, port: {{ . }}}
      {{- end }}
    {{- else }}
    # No ports: a policy sees them after translation; what is open is the provider's to say.
    - to:
        {{- if .namespace }}
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ .namespace }}
        {{- else }}
        - podSelector:
            matchLabels:
              app.kubernetes.io/name: {{ .room }}
        {{- end }}
    {{- end }}
    {{- end }}
    {{- with .egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
