{{- define "matryoshka.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "matryoshka.labels" -}}
app.kubernetes.io/part-of: matryoshka
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
{{- end -}}

{{- /* The policies, the network policies and the agent's own code know the agent by this user. */ -}}
{{- define "matryoshka.agentUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:matryoshka-agent
{{- end -}}

{{- /* The bucket of an account, by a CEL expression for its name: what grant.Bucket is in the agent's code. */ -}}
{{- define "matryoshka.bucket" -}}
string({{ . }}.split('').map(letter, '-0123456789abcdefghijklmnopqrstuvwxyz'.indexOf(letter)).sum() % 32)
{{- end -}}

{{- define "matryoshka.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "matryoshka.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "matryoshka.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Parts of the host itself, the agent, and whoever may change the account: for these the rules for members do not hold. */ -}}
{{- define "matryoshka.isHost" -}}
request.userInfo.username == '{{ include "matryoshka.agentUser" . }}' ||
(request.userInfo.username.startsWith('system:') &&
 (!request.userInfo.username.startsWith('system:serviceaccount:') || request.userInfo.username.startsWith('system:serviceaccount:kube-system:')))
{{- end -}}
