{{- define "shortlist.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "shortlist.fullname" -}}
{{- $name := include "shortlist.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{ .Values.fullnameOverride | default $full | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "shortlist.selector" -}}
app.kubernetes.io/name: {{ include "shortlist.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shortlist.labels" -}}
{{ include "shortlist.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "shortlist.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "shortlist.url" -}}
http://{{ include "shortlist.fullname" . }}:{{ .Values.service.port }}
{{- end }}

{{/* "true" if the model is one of a hub, and not in the image or on the volume. */}}
{{- define "shortlist.isOnHub" -}}
{{- if not (or (eq .Values.model.name "demo") (hasPrefix "/" .Values.model.name)) }}true{{ end }}
{{- end }}

{{/* "true" if the init container downloads it. vLLM servers elsewhere have the weights themselves. */}}
{{- define "shortlist.isDownloaded" -}}
{{- if and (include "shortlist.isOnHub" .) (not .Values.hub.offline) (not .Values.settings.upstream) }}true{{ end }}
{{- end }}

{{/* The settings file. A JSON value is a TOML value, and toJson writes large numbers as integers. */}}
{{- define "shortlist.toml" -}}
{{ .Values.model.task | eq "auto" | ternary "models" .Values.model.task }} = [{{ .Values.model.name | toJson }}]
{{- with .Values.model.revision }}
revision = {{ toJson . }}
{{- end }}
host = "0.0.0.0"
port = 8080
drain_notice_s = {{ .Values.shutdown.delaySeconds }}
drain_timeout_s = {{ .Values.shutdown.drainSeconds }}
{{- range $name, $value := .Values.settings }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- end }}

{{- define "shortlist.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false  # a service named shortlist would set SHORTLIST_PORT, and unknown settings stop the start
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "shortlist.container" -}}
image: {{ include "shortlist.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* HF_* and HOME of both containers; every cache that a library makes is below HOME. */}}
{{- define "shortlist.environment" -}}
- name: HOME
  value: /tmp
- name: HF_HOME
  value: /data/huggingface
- name: MODELSCOPE_CACHE
  value: /data/modelscope
{{- with .Values.hub.endpoint }}
- name: HF_ENDPOINT
  value: {{ . }}
{{- end }}
{{- end }}

{{/* Environment variables from secrets: a list of pairs (list NAME {name, key}). One whose secret has no name is left out. */}}
{{- define "shortlist.secrets" -}}
{{- range . }}
{{- $secret := index . 1 }}
{{- if $secret.name }}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name }}
      key: {{ $secret.key }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a schema cannot say. */}}
{{- define "shortlist.check" -}}
{{- if and (include "shortlist.isOnHub" .) (not .Values.model.revision) (not (hasPrefix "modelscope:" .Values.model.name)) }}
{{- fail "model.revision is required for a model of a hub: the commit's 40 hexadecimal digits, which its page shows." }}
{{- end }}
{{- if and (eq .Values.storage.kind "existing") (not .Values.storage.existingClaim) }}
{{- fail "storage.kind is existing: name the claim in storage.existingClaim." }}
{{- end }}
{{- if and .Values.hub.offline (include "shortlist.isOnHub" .) (ne .Values.storage.kind "existing") (not .Values.settings.upstream) }}
{{- fail "hub.offline needs storage.kind existing: an empty volume has no model." }}
{{- end }}
{{- if and .Values.secrets.apiKey.name .Values.monitoring.enabled (not .Values.secrets.clientKey.name) (not .Values.settings.public_metrics) }}
{{- fail "Prometheus needs a key: set secrets.clientKey.name, or settings.public_metrics." }}
{{- end }}
{{- if and (eq .Values.autoscaling.kind "keda") (not .Values.autoscaling.prometheusUrl) }}
{{- fail "autoscaling.kind is keda: set autoscaling.prometheusUrl." }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.enabled: set ingress.host." }}
{{- end }}
{{- end }}
