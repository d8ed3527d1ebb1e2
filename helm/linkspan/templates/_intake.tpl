{{/* Who may send messages: docs/security.md. */}}
{{- define "linkspan.intake" -}}
{{- $own := .Values.intake -}}
- {name: LINKSPAN_INTAKE, value: {{ $own.mode }}}
{{ include "linkspan.variable" (list "LINKSPAN_INTAKE_JWKS" $own.jwt.jwks) -}}
{{ include "linkspan.variable" (list "LINKSPAN_INTAKE_JWT_ISSUER" $own.jwt.issuer) -}}
{{ include "linkspan.variable" (list "LINKSPAN_INTAKE_JWT_AUDIENCE" $own.jwt.audience) -}}
{{ include "linkspan.variable" (list "LINKSPAN_INTAKE_JWT_SCOPE_CLAIM" $own.jwt.scopeClaim) -}}
{{ if $own.rate -}}
{{ include "linkspan.variable" (list "LINKSPAN_INTAKE_RATE" $own.rate) -}}
{{ include "linkspan.variable" (list "LINKSPAN_INTAKE_BURST" $own.burst) -}}
{{ end -}}
{{- end -}}
