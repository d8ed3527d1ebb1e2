{{/* The integration file's text: the one given, else the reference integration's where its systems are wanted. */}}
{{- define "linkspan.integration" -}}
{{- if .Values.integration.file -}}
{{ .Values.integration.file }}
{{- else if .Values.reference.enabled -}}
{{ .Files.Get "files/integration.yaml" }}
{{- end -}}
{{- end -}}

{{- define "linkspan.integrationMap" -}}
{{ default (printf "%s-integration" (include "linkspan.fullname" .)) .Values.integration.existingConfigMap }}
{{- end -}}

{{/* Empty where there are no schemas beside the file. */}}
{{- define "linkspan.schemasMap" -}}
{{- if .Values.integration.existingSchemasConfigMap -}}
{{ .Values.integration.existingSchemasConfigMap }}
{{- else if .Values.integration.schemas -}}
{{ include "linkspan.fullname" . }}-schemas
{{- end -}}
{{- end -}}

{{/* Most partitions of a flow, 0 where the file is in a ConfigMap that is not ours and nobody says. */}}
{{- define "linkspan.partitions" -}}
{{- $most := int .Values.integration.partitions -}}
{{- $text := include "linkspan.integration" . -}}
{{- if and (eq $most 0) $text (not .Values.integration.existingConfigMap) -}}
{{- range $flow := (fromYaml $text).flows -}}
{{- $most = max $most (int (default 8 $flow.partitions)) -}}
{{- end -}}
{{- end -}}
{{- $most -}}
{{- end -}}

{{/* Changes when a pod has to be made anew: the file, its schemas, the version of what is only referred to. */}}
{{- define "linkspan.checksum" -}}
{{- $said := list (include "linkspan.integration" .) (toJson .Values.integration.schemas) .Values.revision -}}
{{- range $name := list .Values.integration.existingConfigMap .Values.integration.existingSchemasConfigMap .Values.ca.existingConfigMap -}}
{{- if $name -}}
{{- $found := lookup "v1" "ConfigMap" $.Release.Namespace $name -}}
{{- $said = append $said (toJson (default dict $found.data)) -}}
{{- end -}}
{{- end -}}
{{- range $name := list .Values.database.existingSecret .Values.kafka.sasl.existingSecret .Values.systems.a.existingSecret .Values.systems.b.existingSecret -}}
{{- if $name -}}
{{- $found := lookup "v1" "Secret" $.Release.Namespace $name -}}
{{- if $found -}}{{- $said = append $said $found.metadata.resourceVersion -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $said | sha256sum -}}
{{- end -}}

{{/* (list $ hook): the ConfigMap of the integration file and that of its schemas, as far as they are ours. */}}
{{- define "linkspan.configMaps" -}}
{{- $root := first . -}}
{{- $suffix := ternary "-hook" "" (last .) -}}
{{- if not $root.Values.integration.existingConfigMap }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "linkspan.integrationMap" $root }}{{ $suffix }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "linkspan.labels" (list $root "integration") | nindent 4 }}
  {{- include "linkspan.hook" (list $root (last .) "-5") | nindent 2 }}
data:
  integration.yaml: |
    {{- include "linkspan.integration" $root | nindent 4 }}
{{- end }}
{{- if and $root.Values.integration.schemas (not $root.Values.integration.existingSchemasConfigMap) }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "linkspan.schemasMap" $root }}{{ $suffix }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "linkspan.labels" (list $root "integration") | nindent 4 }}
  {{- include "linkspan.hook" (list $root (last .) "-5") | nindent 2 }}
data:
  {{- range $name, $text := $root.Values.integration.schemas }}
  {{ $name }}: |
    {{- $text | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* (list $ hook weight): annotations of an object that is there before the topics are looked at. */}}
{{- define "linkspan.hook" -}}
{{- if index . 1 -}}
annotations:
  helm.sh/hook: {{ include "linkspan.topicsHook" (first .) }}
  helm.sh/hook-weight: {{ index . 2 | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
{{- end -}}

{{/* Secrets that the External Secrets operator makes are not there before the release's objects. */}}
{{- define "linkspan.topicsHook" -}}
{{ ternary "post-install,pre-upgrade" "pre-install,pre-upgrade" .Values.externalSecrets.enabled }}
{{- end -}}
