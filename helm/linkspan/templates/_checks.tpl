{{/* What the schema of the values cannot say. Each line says what to set. */}}
{{- define "linkspan.checks" -}}
{{- $v := .Values -}}
{{- if not (or $v.integration.existingConfigMap (include "linkspan.integration" .)) -}}
{{- fail "integration.file: set it (--set-file integration.file=integration.yaml), or integration.existingConfigMap, or reference.enabled for a trial" -}}
{{- end -}}
{{- if and $v.integration.file $v.integration.existingConfigMap -}}
{{- fail "integration.file and integration.existingConfigMap: set one of them" -}}
{{- end -}}
{{- if not $v.kafka.url -}}
{{- fail "kafka.url: set it, such as kafka+ssl://kafka-1:9093,kafka-2:9093" -}}
{{- end -}}
{{- if and $v.plainText (eq $v.mode "production") -}}
{{- fail "plainText: it is for mode development only" -}}
{{- end -}}
{{- if not (or $v.plainText $v.tls.existingSecret) -}}
{{- fail "tls.existingSecret: name a secret with tls.crt and tls.key (or, in mode development, set plainText)" -}}
{{- end -}}
{{- if not (or $v.plainText (hasPrefix "kafka+ssl://" $v.kafka.url)) -}}
{{- fail "kafka.url: begins with kafka+ssl:// unless plainText is set" -}}
{{- end -}}
{{- if and $v.kafka.sasl.mechanism (not (and $v.kafka.sasl.username $v.kafka.sasl.existingSecret)) -}}
{{- fail "kafka.sasl: username and existingSecret go with mechanism" -}}
{{- end -}}
{{- if and $v.ledger.enabled (not $v.database.existingSecret) -}}
{{- fail "database.existingSecret: name a secret with the address of a PostgreSQL database, or set ledger.enabled to false" -}}
{{- end -}}
{{- if and $v.reference.enabled (not $v.integration.existingConfigMap) (not $v.integration.file) (not $v.encryption.existingSecret) -}}
{{- fail "encryption.existingSecret: the reference integration has confidential fields; name a secret with a keyring (linkspan keyring rotate --file keyring.yaml)" -}}
{{- end -}}
{{- if $v.reference.enabled -}}
{{- if not (and $v.systems.a.existingSecret $v.systems.a.clientIdKey $v.systems.a.clientSecretKey) -}}
{{- fail "systems.a: the reference systems need existingSecret, clientIdKey and clientSecretKey" -}}
{{- end -}}
{{- if not (and $v.systems.b.existingSecret $v.systems.b.apiKeyKey) -}}
{{- fail "systems.b: the reference systems need existingSecret and apiKeyKey" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.intake.mode "open") (eq $v.mode "production") -}}
{{- fail "intake.mode: open is for mode development only" -}}
{{- end -}}
{{- include "linkspan.checkScaling" . -}}
{{- end -}}

{{- define "linkspan.checkScaling" -}}
{{- $partitions := int (include "linkspan.partitions" .) -}}
{{- with .Values.egress -}}
{{- $most := ternary (int .autoscaling.maxReplicas) (int .replicas) .autoscaling.enabled -}}
{{- if and .autoscaling.enabled (eq $partitions 0) -}}
{{- fail "integration.partitions: say how many partitions the flows of the existing ConfigMap's file have, for egress.autoscaling" -}}
{{- end -}}
{{- if and (gt $partitions 0) (gt $most $partitions) -}}
{{- fail (printf "egress.%s: %d replicas, but no flow has more than %d partitions: the others would do nothing" (ternary "autoscaling.maxReplicas" "replicas" .autoscaling.enabled) $most $partitions) -}}
{{- end -}}
{{- if gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) -}}
{{- fail "egress.autoscaling.minReplicas: is above maxReplicas" -}}
{{- end -}}
{{- end -}}
{{- with .Values.ingress -}}
{{- if gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) -}}
{{- fail "ingress.autoscaling.minReplicas: is above maxReplicas" -}}
{{- end -}}
{{- if le (int .terminationGracePeriodSeconds) (add (int .preStopSeconds) 30 | int) -}}
{{- fail "ingress.terminationGracePeriodSeconds: at least 31 more than preStopSeconds, since ingress itself takes up to 25 s" -}}
{{- end -}}
{{- end -}}
{{- end -}}
