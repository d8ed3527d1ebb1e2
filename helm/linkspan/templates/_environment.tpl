{{/* (list name secret key folder): which file a key of a mounted secret is; nothing where secret or key is not named. */}}
{{- define "linkspan.secretFile" -}}
{{- if and (index . 1) (index . 2) -}}
- name: {{ index . 0 }}_FILE
  value: /etc/linkspan/{{ index . 3 }}/{{ index . 2 }}
{{ end -}}
{{- end -}}

{{/* (list name value): a variable; nothing where it has no value. */}}
{{- define "linkspan.variable" -}}
{{- if not (kindIs "invalid" (last .)) -}}
{{- if ne (toString (last .)) "" -}}
- name: {{ first . }}
  value: {{ last . | toString | quote }}
{{ end -}}
{{- end -}}
{{- end -}}

{{/* What every process gets. */}}
{{- define "linkspan.environment" -}}
- name: INTEGRATION_MODE
  value: {{ .Values.mode }}
- name: LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: MESSAGE_QUEUE_URL
  value: {{ .Values.kafka.url | quote }}
{{ if .Values.plainText -}}
- name: LINKSPAN_PLAIN_TEXT
  value: development
{{ end -}}
{{ include "linkspan.secretFile" (list "LINKSPAN_DATABASE_URL" .Values.database.existingSecret .Values.database.key "database") -}}
{{ include "linkspan.systems" . -}}
{{ include "linkspan.security" . -}}
{{ include "linkspan.kept" . -}}
{{ include "linkspan.variable" (list "OTEL_EXPORTER_OTLP_ENDPOINT" .Values.tracing.endpoint) -}}
{{ if .Values.tracing.endpoint -}}
{{ include "linkspan.variable" (list "OTEL_TRACES_SAMPLER_ARG" .Values.tracing.share) -}}
{{ end -}}
{{ with .Values.extraEnv }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- define "linkspan.systems" -}}
{{ range $letter, $system := .Values.systems -}}
{{ $prefix := printf "SYSTEM_%s" (upper $letter) -}}
{{ $folder := printf "system-%s" $letter -}}
{{ include "linkspan.variable" (list (printf "%s_ENDPOINT" $prefix) (include "linkspan.endpoint" (list $ $letter))) -}}
{{ include "linkspan.secretFile" (list (printf "%s_CLIENT_ID" $prefix) $system.existingSecret $system.clientIdKey $folder) -}}
{{ include "linkspan.secretFile" (list (printf "%s_CLIENT_SECRET" $prefix) $system.existingSecret $system.clientSecretKey $folder) -}}
{{ include "linkspan.secretFile" (list (printf "%s_API_KEY" $prefix) $system.existingSecret $system.apiKeyKey $folder) -}}
{{ end -}}
{{- end -}}

{{/* (list $ letter): what the values say, else the reference system's own address. */}}
{{- define "linkspan.endpoint" -}}
{{- $root := first . -}}
{{- $said := (get $root.Values.systems (last .)).endpoint -}}
{{- $scheme := include "linkspan.scheme" $root -}}
{{- if $said -}}
{{ $said }}
{{- else if and $root.Values.reference.enabled (eq (last .) "a") -}}
{{ $scheme }}://{{ include "linkspan.fullname" $root }}-plan-manager:{{ include "linkspan.servicePort" $root }}
{{- else if $root.Values.reference.enabled -}}
{{ ternary "wss" "ws" (eq $scheme "https") }}://{{ include "linkspan.fullname" $root }}-analysis:{{ include "linkspan.servicePort" $root }}
{{- end -}}
{{- end -}}

{{/* The port of a service at which the processes answer: 80, and 443 where they speak TLS. */}}
{{- define "linkspan.servicePort" -}}
{{ ternary "443" "80" (ne .Values.tls.existingSecret "") }}
{{- end -}}

{{/* Certificates, keys and tokens: files that are mounted, and read again when they change. */}}
{{- define "linkspan.security" -}}
{{ if .Values.tls.existingSecret -}}
- name: LINKSPAN_TLS_CERT
  value: /etc/linkspan/tls/tls.crt
- name: LINKSPAN_TLS_KEY
  value: /etc/linkspan/tls/tls.key
{{ end -}}
{{ if or .Values.ca.existingSecret .Values.ca.existingConfigMap -}}
- name: LINKSPAN_CA
  value: /etc/linkspan/ca/{{ .Values.ca.key }}
{{ end -}}
{{- end -}}

{{/* What the processes of Linkspan alone know: the password of Kafka, the keys of what is kept. */}}
{{- define "linkspan.kept" -}}
{{ if .Values.kafka.sasl.mechanism -}}
- name: LINKSPAN_KAFKA_SASL_MECHANISM
  value: {{ .Values.kafka.sasl.mechanism }}
{{ include "linkspan.variable" (list "LINKSPAN_KAFKA_SASL_USERNAME" .Values.kafka.sasl.username) -}}
{{ include "linkspan.secretFile" (list "LINKSPAN_KAFKA_SASL_PASSWORD" .Values.kafka.sasl.existingSecret .Values.kafka.sasl.passwordKey "kafka") -}}
{{ end -}}
{{ if .Values.encryption.existingSecret -}}
- name: LINKSPAN_KEYRING
  value: /etc/linkspan/keyring/{{ .Values.encryption.key }}
{{ end -}}
{{- end -}}

{{/* Of the control API, which ingress and egress serve. */}}
{{- define "linkspan.control" -}}
{{ if .Values.control.tokens.existingSecret -}}
- name: LINKSPAN_TOKENS
  value: /etc/linkspan/tokens/{{ .Values.control.tokens.key }}
{{ end -}}
{{ include "linkspan.variable" (list "LINKSPAN_JWKS" .Values.control.jwt.jwks) -}}
{{ include "linkspan.variable" (list "LINKSPAN_JWT_ISSUER" .Values.control.jwt.issuer) -}}
{{ include "linkspan.variable" (list "LINKSPAN_JWT_AUDIENCE" .Values.control.jwt.audience) -}}
{{ include "linkspan.variable" (list "LINKSPAN_JWT_ROLE_CLAIM" .Values.control.jwt.roleClaim) -}}
{{ if .Values.control.clientCa.existingSecret -}}
- name: LINKSPAN_CONTROL_CLIENT_CA
  value: /etc/linkspan/clients/ca.crt
- name: LINKSPAN_CLIENT_ROLES
  value: /etc/linkspan/clients/roles.yaml
{{ end -}}
{{- end -}}
