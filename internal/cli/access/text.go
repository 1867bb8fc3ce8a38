package access

import (
	"fmt"
	"io"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// mostSubjects keeps a sentence readable.
const mostSubjects = 6

func subjectText(subject rbacv1.Subject) string {
	switch subject.Kind {
	case rbacv1.UserKind:
		return "user " + subject.Name
	case rbacv1.GroupKind:
		return "group " + subject.Name
	}
	return "service account " + subject.Namespace + "/" + subject.Name
}

func subjectsText(subjects []rbacv1.Subject) string {
	if len(subjects) == 0 {
		return "nobody"
	}
	names := make([]string, 0, mostSubjects)
	for _, subject := range subjects[:min(len(subjects), mostSubjects)] {
		names = append(names, subjectText(subject))
	}
	if more := len(subjects) - mostSubjects; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// ruleText is a rule in one line.
func ruleText(rule rbacv1.PolicyRule) string {
	text := strings.Join(rule.Verbs, ",") + " "
	if len(rule.NonResourceURLs) > 0 {
		return text + strings.Join(rule.NonResourceURLs, ",")
	}
	text += strings.Join(rule.Resources, ",")
	groups := make([]string, 0, len(rule.APIGroups))
	for _, group := range rule.APIGroups {
		if group == "" {
			group = "core"
		}
		groups = append(groups, group)
	}
	text += " of " + strings.Join(groups, ",")
	if len(rule.ResourceNames) > 0 {
		text += ", named " + strings.Join(rule.ResourceNames, ",")
	}
	return text
}

// write tells a person the answer.
func (a *Answer) write(w io.Writer) {
	word := "no"
	if a.Allowed {
		word = "yes"
	}
	may := "may not"
	if a.Allowed {
		may = "may"
	}
	fmt.Fprintf(w, "%s: %q %s %s\n", word, a.Question.User, may, a.Question.what())
	for _, grant := range a.Grants {
		fmt.Fprintf(w, "  by %s%s\n", grant.Binding.Ref, ofAccount(grant.Binding))
		fmt.Fprintf(w, "     to   %s\n", subjectText(grant.Subject))
		fmt.Fprintf(w, "     role %s\n", grant.Binding.Role)
		fmt.Fprintf(w, "     rule %s\n", ruleText(grant.Rule))
	}
	for _, sentence := range a.Missing {
		fmt.Fprintf(w, "  missing: %s\n", sentence)
	}
	for _, sentence := range a.Notes {
		fmt.Fprintf(w, "  note: %s\n", sentence)
	}
}
