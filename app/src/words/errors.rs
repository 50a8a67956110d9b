//! What the pages of errors say: a heading and a sentence for each.

/// Heading and explanation.
pub type Text = (&'static str, &'static str);

#[derive(Debug)]
pub struct Errors {
    pub unknown_host: Text,
    pub read_only: Text,
    pub unreadable: Text,
    pub token_refused: Text,
    pub not_found: Text,
    pub gone: Text,
    pub bad_request: Text,
    pub wrong_method: Text,
    pub too_large: Text,
    pub not_a_form: Text,
    pub too_slow: Text,
    pub sign_in_first: Text,
    pub signed_out: Text,
    pub not_our_form: Text,
    pub too_many_logins: Text,
    pub login_busy: Text,
    pub internal: Text,
    pub typed: &'static str,
    pub send_again: &'static str,
    pub to_front: &'static str,
}

pub const EN: Errors = Errors {
    read_only: (
        "Nothing can be saved now",
        "The disk of the blog is full or broken. Reading goes on. Go back, keep your text, and try again in a minute: it \
         will not be posted twice.",
    ),
    unreadable: (
        "Nothing can be read now",
        "The disk of the blog is full or broken, and the blog needs a little room to begin. It comes back by itself as soon \
         as there is some.",
    ),
    token_refused: (
        "Not allowed",
        "The token is unknown, has run out, or does not allow this.",
    ),
    unknown_host: (
        "Not the name of this blog",
        "The blog does not answer to the name in this address. Its owner can add names with BLOG_BASE_URL and BLOG_HOSTS.",
    ),
    not_found: ("Not found", "There is no such page. The post may have been deleted."),
    gone: ("Deleted", "The post that was here has been deleted."),
    bad_request: ("Bad request", "The request could not be read."),
    wrong_method: (
        "Not possible here",
        "This address does not answer that kind of request.",
    ),
    too_large: (
        "Too large",
        "More was sent than the blog accepts. Go back and make the text shorter.",
    ),
    not_a_form: ("Not a form", "The blog reads forms sent by its own pages."),
    too_slow: (
        "Too slow",
        "The form did not arrive in time. Go back and send it again: it will not be posted twice.",
    ),
    sign_in_first: ("Sign in first", "This page is for the owner."),
    signed_out: (
        "You are signed out",
        "Nothing was changed, and what you typed is here. Sign in (the link opens another page), come back, and send it again.",
    ),
    not_our_form: (
        "The form has expired",
        "Nothing was changed. The page with the form was opened before you signed in, or it is not one of this blog. Look at what would be sent, then send it again.",
    ),
    too_many_logins: (
        "Wait a little",
        "There were several wrong passwords. Wait half a minute, then try again.",
    ),
    login_busy: (
        "Wait a little",
        "Another password is being checked right now. Try again in a second.",
    ),
    internal: (
        "Something went wrong",
        "The blog could not do that. The reason is in its log.",
    ),
    typed: "What you typed",
    send_again: "Send it again",
    to_front: "To the front page",
};

pub const JA: Errors = Errors {
    read_only: (
        "いまは保存できません",
        "ブログのディスクがいっぱいか、壊れています。閲覧は続けられます。戻って文章を控え、しばらくしてからもう一度お試しください。二重に投稿されることはありません。",
    ),
    unreadable: (
        "いまは表示できません",
        "ブログのディスクがいっぱいか、壊れています。始めるには少しの空きが必要です。空きができれば、自動的に元に戻ります。",
    ),
    token_refused: (
        "許可されていません",
        "トークンが不明か、期限切れか、この操作を許可していません。",
    ),
    unknown_host: (
        "このブログの名前ではありません",
        "ブログはこのアドレスの名前には応答しません。持ち主は BLOG_BASE_URL と BLOG_HOSTS で名前を追加できます。",
    ),
    not_found: (
        "ページがありません",
        "お探しのページはありません。投稿は削除されたのかもしれません。",
    ),
    gone: ("削除されました", "ここにあった投稿は削除されました。"),
    bad_request: ("リクエストの誤り", "リクエストを読み取れませんでした。"),
    wrong_method: (
        "ここではできません",
        "このアドレスはその種類のリクエストに応答しません。",
    ),
    too_large: (
        "大きすぎます",
        "ブログが受け付ける大きさを超えています。戻って文章を短くしてください。",
    ),
    not_a_form: (
        "フォームではありません",
        "ブログは自分のページから送られたフォームだけを受け付けます。",
    ),
    too_slow: (
        "時間切れ",
        "フォームが時間内に届きませんでした。戻ってもう一度送ってください。二重に投稿されることはありません。",
    ),
    sign_in_first: ("ログインが必要です", "このページはブログの持ち主のものです。"),
    signed_out: (
        "ログアウトしています",
        "何も変更されていません。入力した内容は下にあります。ログインして (リンクは別のページで開きます) ここに戻り、もう一度送ってください。",
    ),
    not_our_form: (
        "フォームの期限が切れました",
        "何も変更されていません。フォームを開いたあとでログインし直したか、このブログのページではありません。送る内容を確かめてから、もう一度送ってください。",
    ),
    too_many_logins: (
        "少しお待ちください",
        "パスワードの間違いが続きました。30秒ほど待ってから、もう一度お試しください。",
    ),
    login_busy: (
        "少しお待ちください",
        "いま別のパスワードを確認しています。少し待ってから、もう一度お試しください。",
    ),
    internal: (
        "エラーが起きました",
        "処理できませんでした。理由はブログのログに書かれています。",
    ),
    typed: "入力された文章",
    send_again: "もう一度送る",
    to_front: "トップページへ",
};
