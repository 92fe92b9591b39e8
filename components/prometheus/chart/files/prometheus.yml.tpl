global:
  scrape_interval: {{ .Values.scrape_seconds }}s
  scrape_timeout: {{ min 10 (int .Values.scrape_seconds) }}s
  evaluation_interval: 30s
  external_labels: {site: {{ .Values.site }}}
rule_files: [/etc/apadana/rules/*.yml]
{{- $members := printf "%s-members.%s.svc.%s" .Release.Name .Release.Namespace .Values.cluster_domain }}
{{- with .Values.alertmanagers }}
# No label tells the replicas apart: Alertmanager takes what both say for one alert.
alerting:
  alertmanagers:
    - scheme: https
      timeout: 5s
      tls_config:
        ca_file: /etc/apadana/tls/ca.crt
        cert_file: /etc/apadana/tls/tls.crt
        key_file: /etc/apadana/tls/tls.key
        min_version: TLS12
      static_configs:
        - targets: {{ toJson . }}
{{- end }}
scrape_configs:
  # How much of the window each replica has; see window.yml.
  - job_name: window
    scrape_interval: 15s
    scrape_timeout: 5s
    scheme: https
    metrics_path: /federate
    params: {"match[]": ["apadana:watched_minutes{job=\"\"}"]}
    tls_config: &tls
      ca_file: /etc/apadana/tls/ca.crt
      cert_file: /etc/apadana/tls/tls.crt
      key_file: /etc/apadana/tls/tls.key
      min_version: TLS12
    static_configs:
      - targets:
          {{- range $i := until (int .Values.replicas) }}
          - {{ $.Release.Name }}-{{ $i }}.{{ $members }}:9444
          {{- end }}
        labels: {component: {{ .Release.Name }}}
    relabel_configs: &names
      # Pods have speaking names: the rest of a full one is the same everywhere.
      - {source_labels: [__address__], regex: "([^.]+)[.].*", target_label: member, replacement: "$1"}
      - {source_labels: [__address__], regex: "([^.]+)[.].*:([0-9]+)", target_label: instance, replacement: "$1:$2"}
  {{- range $scrape := .Values.scrapes }}
  - job_name: {{ $scrape.job }}
    metrics_path: {{ $scrape.path | quote }}
    scheme: {{ ternary "http" $scrape.scheme (ne $scrape.listed "") }}
    {{- if and (eq $scrape.scheme "https") (not $scrape.listed) }}
    tls_config:
      <<: *tls
      {{- with $scrape.server_name }}
      server_name: {{ . }}
      {{- end }}
    {{- end }}
    {{- if $scrape.listed }}
    # What they show says nothing of the room that lists them, so the job is their name.
    http_sd_configs:
      - url: {{ $scrape.scheme }}://{{ $scrape.service }}:{{ $scrape.port }}{{ $scrape.listed }}
        refresh_interval: 15s
        tls_config: *tls
    relabel_configs:
      - {target_label: component, replacement: {{ $scrape.job }}}
    {{- else if $scrape.service }}
    dns_sd_configs:
      - {names: [{{ $scrape.service }}], type: A, port: {{ $scrape.port }}, refresh_interval: 15s}
    relabel_configs:
      - {target_label: component, replacement: {{ $scrape.room }}}
    {{- else }}
    static_configs:
      - targets:
          {{- range $scrape.hosts }}
          - {{ . }}:{{ $scrape.port }}
          {{- end }}
        labels: {component: {{ $scrape.room }}}
    relabel_configs: *names
    {{- end }}
  {{- end }}
  # Certificates, as a client meets them. `component` is put on what is found and not on the place itself: of a room's
  # members `up` is told by what they show themselves, and by nothing else.
  - job_name: certificates
    scrape_interval: 1m
    metrics_path: /probe
    static_configs:
      {{- range .Values.certificates.looks }}
      - targets: {{ toJson .places }}
        labels: {of: {{ .room }}, __param_module: {{ .server_name | default "its-own-name" }}}
      {{- end }}
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__address__], regex: "([^.]+)[.].*:([0-9]+)", target_label: instance, replacement: "$1:$2"}
      - {target_label: __address__, replacement: "127.0.0.1:9115"}
    metric_relabel_configs:
      - {source_labels: [__name__], regex: "probe_ssl_earliest_cert_expiry|probe_success", action: keep}
      - {source_labels: [of], target_label: component}
      - {regex: of, action: labeldrop}
  {{- if .Values.watch_volumes }}
  # How full volumes are. A kubelet shows a certificate that it has signed itself; the token that it is shown can read
  # this of any kubelet, and which hosts there are.
  - job_name: volumes
    scrape_interval: 1m
    scheme: https
    authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
    tls_config: {insecure_skip_verify: true}
    kubernetes_sd_configs: [{role: node}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_node_name], target_label: instance}
      - {source_labels: [__meta_kubernetes_node_label_apadana_io_pool], target_label: pool}
    metric_relabel_configs:
      - source_labels: [__name__]
        regex: "kubelet_volume_stats_(available_bytes|capacity_bytes|inodes|inodes_free)|kubelet_certificate_manager_client_ttl_seconds"
        action: keep
  {{- end }}
  {{- if .Values.watch_control_planes }}
  # How each API server, and the etcd that it asks, are: its own checks, a page of some hundred lines. Where no host is
  # a control plane, there is nothing to ask.
  - job_name: api-servers
    metrics_path: /metrics/slis
    scheme: https
    authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
    tls_config: &cluster
      ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
      server_name: kubernetes.default.svc
    kubernetes_sd_configs: &hosts [{role: node}]
    relabel_configs:
      - &planes
        source_labels: [__meta_kubernetes_node_labelpresent_node_role_kubernetes_io_control_plane]
        regex: "true"
        action: keep
      - {source_labels: [__meta_kubernetes_node_name], target_label: instance}
      - {source_labels: [__address__], regex: "(.*):[0-9]+", target_label: __address__, replacement: "$1:6443"}
    metric_relabel_configs:
      - source_labels: [__name__, type, name]
        regex: "kubernetes_healthcheck;readyz;(etcd|etcd-readiness|informer-sync|ping)|kubernetes_healthchecks_total;readyz;etcd"
        action: keep
  # Their certificates, as clients meet them; kubeadm made all of a control plane's on one day.
  - job_name: api-certificates
    scrape_interval: 1m
    metrics_path: /probe
    params: {module: [its-own-name]}
    kubernetes_sd_configs: *hosts
    relabel_configs:
      - *planes
      - {source_labels: [__meta_kubernetes_node_name], target_label: instance}
      - {source_labels: [__address__], regex: "(.*):[0-9]+", target_label: __param_target, replacement: "$1:6443"}
      - {target_label: __address__, replacement: "127.0.0.1:9115"}
    metric_relabel_configs:
      - {source_labels: [__name__], regex: "probe_ssl_earliest_cert_expiry", action: keep}
      - {target_label: component, replacement: cluster}
  # Whether somebody serves what hosts and pods use, as whoever goes by it asks: through each API server.
  - job_name: usage-figures
    scrape_interval: 1m
    metrics_path: /probe
    params: {module: [usage-figures]}
    kubernetes_sd_configs: *hosts
    relabel_configs:
      - *planes
      - {source_labels: [__meta_kubernetes_node_name], target_label: instance}
      - source_labels: [__address__]
        regex: "(.*):[0-9]+"
        target_label: __param_target
        replacement: "https://$1:6443/apis/metrics.k8s.io/v1beta1/nodes"
      - {target_label: __address__, replacement: "127.0.0.1:9115"}
    metric_relabel_configs:
      - {source_labels: [__name__], regex: "probe_success", action: keep}
  {{- end }}
  {{- if .Values.watch_names }}
  # CoreDNS of each host: how many answers failed, and how many took longer than half a second.
  - job_name: coredns
    kubernetes_sd_configs:
      - role: pod
        namespaces: {names: [kube-system]}
        selectors: [{role: pod, label: "k8s-app=kube-dns"}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: instance}
    metric_relabel_configs:
      - source_labels: [__name__, le]
        regex: "coredns_(dns_responses_total|dns_request_duration_seconds_(bucket|count)|panics_total|forward_healthcheck_broken_total);(|0[.]512)"
        action: keep
  {{- end }}
  {{- range .Values.cards }}
  # What NVIDIA's DCGM exporter says of each card.
  - job_name: cards
    scrape_interval: 30s
    dns_sd_configs:
      - names: ["{{ .service }}.{{ .namespace }}.svc.{{ $.Values.cluster_domain }}"]
        type: A
        port: {{ .port }}
        refresh_interval: 15s
    metric_relabel_configs:
      - {source_labels: [__name__], regex: "DCGM_FI_DEV_(GPU_UTIL|FB_FREE|FB_USED|XID_ERRORS)", action: keep}
  {{- end }}
