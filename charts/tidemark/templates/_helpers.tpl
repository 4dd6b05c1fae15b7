{{- define "tidemark.labels" -}}
app.kubernetes.io/name: tidemark
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tidemark.selector" -}}
app.kubernetes.io/name: tidemark
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- /* The release's name, with the chart's where it is another. */ -}}
{{- define "tidemark.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Name for objects without namespace. Two releases may have one name in two namespaces, and neither name has a colon. */ -}}
{{- define "tidemark.clusterName" -}}
{{ .Release.Namespace }}:{{ include "tidemark.name" . }}
{{- end }}

{{- /* Namespaces of the ExtractJobs, as a list in JSON. */ -}}
{{- define "tidemark.namespaces" -}}
{{- .Values.extractNamespaces | default (list .Release.Namespace) | uniq | toJson }}
{{- end }}

{{- define "tidemark.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- /* What the operator does in a namespace, and nothing else. */ -}}
{{- define "tidemark.rules" -}}
- apiGroups: [tidemark.dev]
  resources: [extractjobs]
  verbs: [get, list, watch, patch]
- apiGroups: [tidemark.dev]
  resources: [extractjobs/status]
  verbs: [patch, update]
# Owner references that block deletion need it.
- apiGroups: [tidemark.dev]
  resources: [extractjobs/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Why a pod does not start.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# Whether an account carries its label.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
# Whether the namespace is being deleted.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}
