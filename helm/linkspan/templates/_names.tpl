{{- define "linkspan.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters, so that the longest name made from it fits the 63 of a label. */}}
{{- define "linkspan.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "linkspan.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "linkspan.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* (list $ component): what selects the pods of a component; it never changes. */}}
{{- define "linkspan.selector" -}}
app.kubernetes.io/name: {{ include "linkspan.name" (first .) }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{/* (list $ component) */}}
{{- define "linkspan.labels" -}}
{{ include "linkspan.selector" . }}
app.kubernetes.io/version: {{ include "linkspan.version" (first .) | quote }}
app.kubernetes.io/managed-by: {{ (first .).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (first .).Chart.Name (first .).Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{/* (list $ component): metadata of an object of the component. */}}
{{- define "linkspan.metadata" -}}
name: {{ include "linkspan.fullname" (first .) }}-{{ last . }}
namespace: {{ (first .).Release.Namespace }}
labels:
  {{- include "linkspan.labels" . | nindent 2 }}
{{- end -}}

{{- define "linkspan.version" -}}
{{- default .Chart.AppVersion .Values.image.tag | trunc 63 -}}
{{- end -}}

{{- define "linkspan.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "linkspan.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "linkspan.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* http or https, as the processes speak it. */}}
{{- define "linkspan.scheme" -}}
{{ ternary "https" "http" (ne .Values.tls.existingSecret "") }}
{{- end -}}

{{/* The component's own values: the reference systems' lie together. */}}
{{- define "linkspan.component" -}}
{{- $values := (first .).Values -}}
{{- if eq (last .) "plan-manager" -}}{{ toYaml $values.reference.planManager }}
{{- else if eq (last .) "analysis" -}}{{ toYaml $values.reference.analysis }}
{{- else -}}{{ toYaml (get $values (last .)) }}
{{- end -}}
{{- end -}}
